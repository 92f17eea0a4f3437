package main

// house is the plan that this module keeps.
var house = plan{order: order, cycles: grown}

// order lists the files of the root package from bottom to top. A file may use
// what files on earlier lines declare, and what files on its own line declare.
var order = [][]string{
	// The vocabulary.
	{"errors.go"},
	{"outcome.go"},
	{"defaults.go"},
	{"credential.go"},
	{"request.go"},

	// The configuration of one layer each, and its translation for the engine.
	{"timeout.go"},
	{"budget.go"},
	{"retry.go"},
	{"breaker.go"},
	{"limitstore.go"},
	{"memorylimits.go"},
	{"queuestatus.go"},
	{"keyqueue.go"},
	{"limiter.go"},
	{"fallback.go"},
	{"router.go"},
	{"cachestore.go"},
	{"diskstore.go"},
	{"cache.go"},
	{"event.go"},
	{"labels.go"},
	{"observers.go"},
	{"eventlog.go"},
	{"limitshare.go"},

	// The type alone: its methods are declared higher up.
	{"transport.go"},

	// What a whole call counts and reports.
	{"report.go"},
	{"tally.go"},

	// One attempt: one type in three files, which refer to each other.
	{"exchange.go", "attempt.go", "response.go"},

	// One call, up to its loop.
	{"call.go"},
	{"nested.go"},
	{"attemptrun.go"},
	{"admit.go"},
	{"hedge.go"},
	{"retryloop.go"},

	// Other routes.
	{"failover.go"},
	{"reroute.go"},

	// Delivery and the entrances.
	{"deliver.go"},
	{"cachecall.go"},
	{"reply.go"},
	{"stale.go"},
	{"roundtrip.go"},
	{"balancer.go"},
	{"ready.go"},
}

// grown are the packages that may have cycles of more than maxCycle files: the
// sizes of these cycles, the largest first, which may shrink but not grow.
var grown = map[string]cycleSizes{
	"internal/dialect": {[]int{22, 4}, "the table of providers names them all, and each uses the vocabulary of the table; a meter and its events"},
	"internal/quota":   {[]int{7}, "one model of a bucket in seven files of one noun each"},
	"internal/rfc9111": {[]int{6}, "the sections of one RFC refer to each other"},
}
