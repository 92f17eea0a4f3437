package dialect

import "time"

// A provider is what one provider's documentation says about its failures and
// its quotas. All tables are read for every response, whoever sent it, because
// a gateway has the host of none and the bodies of all: a word means the same
// wherever it comes from, and what would mean two things belongs below mark.
//
// To add a provider: write its table in a file of its own, list it in
// providers, put recorded responses into testdata with their line in
// index.json. Most tables need words and phrases only, and a provider that
// says what another has said already needs no table at all.
//
// A failure is judged in the order of these fields, and the first answer holds:
// words, details, phrases, what everybody says (general.go), status (of a marked
// provider), vague words, and at last what the status means to everyone. Before a
// table is written it is worth a look whether the general rules do not know the
// words already.
type provider struct {
	// buckets are the headers that report quotas.
	buckets []bucket
	// refine corrects what headers with a shared name mean here. It is called
	// only when there are quotas.
	// f is nil where the response is no failure.
	refine func(r *reply, f *failure, q []Quota)

	// words are machine words (type, code, status, reason; lower case) that
	// decide alone, whatever the status.
	words map[string]Class
	// insist are the words for which x-should-retry: false is known to be wrong.
	insist []string
	// misdirects tell, where the status does not, an Invalid that another key or
	// place may not share: machine words, and with a blank in it a phrase.
	misdirects []string
	// details reads structured details. Unclassified means that there are none.
	details func(*failure) Class
	// phrases are found in messages. They come after the machine words because
	// a message can quote anything.
	phrases []phrase
	// mark recognises the provider. It is needed only for status, the meanings
	// of statuses that differ from what everyone else means by them.
	mark   func(*failure) bool
	status map[int]Class

	// vague are words that several kinds of failure share. They count when
	// nothing above spoke, and never against a 402 or a 413. As Invalid or
	// ServerError they count only where there is no status, in a stream.
	vague map[string]Class
}

// A phrase is a lower-case part of a message that decides, on some statuses.
// An error inside a stream has no status, there it decides always.
type phrase struct {
	text  string
	class Class
	on    []int // nil: on any failure
	daily bool  // names a quota of a day: RateLimited after all where the stated wait is short
}

// A bucket names the canonical headers of one quota. An empty name is a header
// that the provider does not send.
type bucket struct {
	kind                    string
	window                  time.Duration
	limit, remaining, reset string
	spent                   bool // these headers are sent for an exhausted bucket only
}

// providers in the order in which they are asked. The order matters only to
// details and status: words of two tables do not contradict (a test holds that).
var providers = []*provider{
	&openai, &azure, &anthropic, &gemini, &mistral, &groq, &cohere, &together,
	&fireworks, &deepseek, &xai, &openrouter, &bedrock, &cerebras, &ollama, &ietf,
}

// The tables merged, once, so that a failure costs lookups and not walks.
var (
	sureWords, vagueWords, insistWords = mergeWords()
	allBuckets, bucketOf               = mergeBuckets()
)

func mergeWords() (sure, vague map[string]Class, insist map[string]bool) {
	sure, vague, insist = map[string]Class{}, map[string]Class{}, map[string]bool{}
	for _, p := range providers {
		for w, c := range p.words {
			sure[w] = c
		}
		for w, c := range p.vague {
			vague[w] = c
		}
		for _, w := range p.insist {
			insist[w] = true
		}
	}
	return sure, vague, insist
}

// Statuses that phrases are tied to.
var (
	onQuota    = []int{400, 402, 403, 429}
	onSize     = []int{400, 403, 413, 422, 429, 500}
	onFilter   = []int{400, 403, 422, 451, 500}
	onOverload = []int{500, 503, 529}
)
