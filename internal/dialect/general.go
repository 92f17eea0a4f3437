package dialect

import (
	"bytes"
	"slices"
	"strings"
)

// What providers without a table say. A machine word and a sentence are judged by
// the words in them, which are the same wherever somebody is told that a plan is
// spent or a server is busy. The tables come first: what they know is exact.

// generalWords are parts of machine words, whose blanks, dashes and underscores
// are taken out. They are tried in this order.
var generalWords = []struct {
	part  string
	class Class
	on    func(status int) bool // nil: on any
}{
	{"insufficientsystemresource", Overloaded, nil},
	{"arrear", QuotaExhausted, nil},
	{"overdue", QuotaExhausted, nil},
	{"outofcredit", QuotaExhausted, nil},
	{"nocredit", QuotaExhausted, nil},
	{"paymentrequired", QuotaExhausted, nil},
	{"budgetexceeded", QuotaExhausted, nil},
	{"exceededbudget", QuotaExhausted, nil},
	{"usagelimit", QuotaExhausted, nil},
	{"spendlimit", QuotaExhausted, nil},
	{"spendinglimit", QuotaExhausted, nil},
	{"exceededcurrentquota", QuotaExhausted, nil},
	{"freequota", QuotaExhausted, nil},
	// A quota under a status that no limit of a minute is sent with.
	{"quotaexceeded", QuotaExhausted, refuses},
	{"overload", Overloaded, nil},
	{"capacityexhausted", Overloaded, nil},
	{"resourceunavailable", Overloaded, serves},
	{"serverbusy", Overloaded, nil},
	{"modelbusy", Overloaded, nil},
	{"queuefull", Overloaded, nil},
	{"nocapacity", Overloaded, nil},
	{"datainspection", Filtered, nil},
	{"contentfilter", Filtered, nil},
	{"sensitivecontent", Filtered, nil},
	{"contextlength", TooLong, nil},
	{"contextwindow", TooLong, nil},
}

func refuses(status int) bool { return 400 <= status && status < 429 && status != 408 && status != 409 }
func serves(status int) bool  { return status == 0 || status == 429 || status >= 500 }

// compact is a machine word without what separates its parts.
func compact(word string) string {
	return strings.Map(func(c rune) rune {
		switch c {
		case '_', '-', '.', ' ':
			return -1
		}
		return c
	}, word)
}

// byGeneralWord judges by the parts of the machine words.
func (f *failure) byGeneralWord() (Class, string) {
	for _, w := range f.words {
		if f.perMinute(w) {
			continue
		}
		if f.status < 500 && overWindow(" "+strings.Map(blank, w)+" ") {
			return f.daily(QuotaExhausted), w
		}
		word := compact(w)
		if (strings.Contains(word, "insufficient") || strings.Contains(word, "exhausted")) && moneyWord(word) { // and not an insufficient scope, an exhausted resource
			return QuotaExhausted, w
		}
		for _, g := range generalWords {
			if strings.Contains(word, g.part) && (g.on == nil || g.on(f.status)) {
				return g.class, w
			}
		}
	}
	return Unclassified, ""
}

func moneyWord(word string) bool {
	for _, m := range [...]string{"quota", "balance", "credit", "fund", "usage", "allowance"} {
		if strings.Contains(word, m) {
			return true
		}
	}
	return false
}

func blank(c rune) rune {
	switch c {
	case '_', '-', '.', '/':
		return ' '
	}
	return c
}

// perMinute reports that DashScope speaks: it calls a limit of a minute
// insufficient_quota, which is money for everyone else. Its answers have a
// request_id beside the error.
func (f *failure) perMinute(word string) bool {
	return word == "insufficient_quota" && f.status == 429 && (f.in("aliyuncs.com") || f.requestID)
}

// A saying is a part of a message, in lower case, that tells a class to everyone.
type saying struct {
	text string
	// weak: it is also said of what would help against a limit of a minute. It
	// counts where the message names no such window and states no short wait.
	weak bool
}

var spentSayings = []saying{
	{text: "insufficient balance"}, {text: "insufficient credit"}, {text: "insufficient fund"}, {text: "insufficient account balance"},
	{text: "not enough credit"}, {text: "not enough balance"}, {text: "balance is not enough"}, {text: "balance not enough"}, {text: "balance is too low"},
	{text: "credit balance"}, {text: "out of credit"}, {text: "no credits"}, {text: "no remaining credit"}, {text: "0 credits remaining"}, {text: "negative balance"},
	{text: "overdue"}, {text: "in arrears"}, {text: "arrearage"}, {text: "good standing"}, {text: "unpaid"},
	{text: "budget exceeded"}, {text: "budget has been exceeded"}, {text: "exceeded your budget"}, {text: "exceeded budget"}, {text: "over budget"}, {text: "budget limit"},
	{text: "spend limit"}, {text: "free allocat"}, {text: "free quota"}, {text: "billing cycle"}, {text: "billing period"},
	{text: "recharge", weak: true}, {text: "top up", weak: true}, {text: "usage limit", weak: true}, {text: "plan limit", weak: true},
	{text: "used up", weak: true}, {text: "quota exhausted", weak: true}, {text: "quota is exhausted", weak: true}, {text: "exhausted your", weak: true},
	{text: "余额不足"}, {text: "欠费"}, {text: "额度不足"}, {text: "额度已用"}, {text: "额度用"}, {text: "配额已用"}, {text: "配额用"}, {text: "资源包"}, {text: "使用上限"},
	{text: "充值", weak: true},
}

var capacitySayings = []saying{
	{text: "overload"}, {text: "over capacity"}, {text: "at capacity"}, {text: "capacity unavailable"}, {text: "no capacity"}, {text: "system capacity"},
	{text: "capacity temporarily"}, {text: "capacity exceeded"}, {text: "maximum capacity"}, {text: "capacity constraint"}, {text: "out of capacity"},
	{text: "server busy"}, {text: "server is busy"}, {text: "servers are busy"}, {text: "model busy"}, {text: "model is busy"}, {text: "system busy"}, {text: "system is busy"},
	{text: "service is busy"}, {text: "currently busy"}, {text: "too busy"}, {text: "queue is full"}, {text: "queue full"}, {text: "queue size"}, {text: "queue length"}, {text: "maximum queue"}, {text: "no worker"}, {text: "no available worker"},
	{text: "worker local"}, {text: "workers are busy"}, {text: "loading model"}, {text: "model is loading"}, {text: "currently loading"}, {text: "still loading"},
	{text: "model is not ready"}, {text: "warming up"}, {text: "high demand"}, {text: "high load"}, {text: "heavy load"}, {text: "too much traffic"}, {text: "heavy traffic"},
	{text: "访问量过大"}, {text: "系统繁忙"}, {text: "服务繁忙"}, {text: "服务器繁忙"}, {text: "模型繁忙"}, {text: "负载过高"}, {text: "负载较高"}, {text: "过载"}, {text: "算力不足"}, {text: "排队"},
}

var limitSayings = []saying{
	{text: "rate limit"}, {text: "ratelimit"}, {text: "too many requests"}, {text: "throttl"}, {text: "requests per"}, {text: "tokens per"}, {text: "concurrency limit"},
	{text: "速率"}, {text: "频率"}, {text: "频繁"}, {text: "限流"}, {text: "并发"},
}

var sizeSayings = []saying{
	{text: "model token limit"}, {text: "context window"}, {text: "context length"}, {text: "long context requests"}, {text: "too many input tokens"}, {text: "上下文长度"},
}

var filterSayings = []saying{
	{text: "inappropriate content"}, {text: "content policy"}, {text: "content moderation"}, {text: "敏感"}, {text: "违规"},
}

// Statuses on which a sentence is believed.
var (
	onSpent    = []int{400, 402, 403, 429, 500, 503}
	onCapacity = []int{400, 403, 429, 500, 503, 529}
)

// bySaying judges a message by what is said everywhere.
func (f *failure) bySaying() Class {
	if f.text == "" {
		return Unclassified
	}
	on := func(list []int) bool { return f.status == 0 || slices.Contains(list, f.status) }
	if on(onSize) && !f.fits && f.says(sizeSayings) {
		return TooLong
	}
	if on(onSpent) {
		if f.says(spentSayings) {
			return QuotaExhausted
		}
		if c := f.byWindow(); c != Unclassified {
			return c
		}
	}
	if on(onCapacity) && f.says(capacitySayings) {
		return Overloaded
	}
	if on(onFilter) && f.says(filterSayings) {
		return Filtered
	}
	if f.status == 0 && f.says(limitSayings) {
		return RateLimited
	}
	return Unclassified
}

func (f *failure) says(list []saying) bool {
	text := f.message()
	for _, s := range list {
		if strings.Contains(text, s.text) && !f.echoes(s.text) && !(s.weak && f.passes()) {
			return true
		}
	}
	return false
}

// passes reports that the message speaks of a rate, or of a window that will pass
// while a call can wait, or states a wait that a call can.
func (f *failure) passes() bool {
	if f.wait > 0 && f.wait <= dailyWait {
		return true
	}
	for _, w := range [...]string{"per minute", "per min", "/min", "/ min", "per second", "rpm", "tpm", "rps", "qps", "concurren", "too many requests", "rate limit", "每分钟", "每秒"} {
		if strings.Contains(f.text, w) {
			return true
		}
	}
	return false
}

// byWindow finds a sentence that says that the limit of a long window is spent.
// Where the stated wait is short it is one that refills all the time.
func (f *failure) byWindow() Class {
	for rest := f.message(); rest != ""; {
		i := strings.IndexAny(rest, ".!\n;。；！")
		sentence := rest
		if i >= 0 {
			sentence, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		if overWindow(" "+strings.Map(blank, sentence)+" ") && !f.echoes(strings.TrimSpace(sentence)) {
			return f.daily(QuotaExhausted)
		}
	}
	return Unclassified
}

// daily is the class of a long window, unless it opens again soon.
func (f *failure) daily(c Class) Class {
	if f.wait > 0 && f.wait <= dailyWait {
		return RateLimited
	}
	return c
}

// overWindow reports that a sentence in lower case, with a blank at both ends,
// names a long window, what it is of, and that it is over.
func overWindow(s string) bool {
	return anyOf(s, longWindows[:]) && anyOf(s, allowances[:]) && anyOf(s, overWords[:])
}

var (
	longWindows = [...]string{
		" session ", " hourly ", " daily ", " weekly ", " monthly ", " per day", " per week", " per month", " per hour", "today", " this month", " day limit",
		"每日", "每天", "今日", "今天", "每周", "本周", "每月", "本月", "小时",
	}
	allowances = [...]string{"limit", "quota", "allocation", "allowance", "spend", "budget", "cap ", "usage", "credits", "限额", "额度", "上限", "配额"}
	overWords  = [...]string{"exceed", "reached", "exhaust", "used up", "hit ", "out of", "over ", "depleted", "超", "达到", "用完", "用尽", "耗尽"}
)

func anyOf(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// message is where phrases are looked for. A refusal of a request quotes what it
// refuses, so that there they count only outside of quotes.
func (f *failure) message() string {
	switch f.status {
	case 0, 402, 429, 529:
		return f.text
	}
	if !f.unquoted {
		f.unquoted, f.plain = true, withoutQuotes(f.text)
	}
	return f.plain
}

// echoes reports that the request itself has the phrase: then it is no word of
// the server's.
func (f *failure) echoes(phrase string) bool {
	switch f.status {
	case 0, 402, 429, 529:
		return false
	}
	if len(f.request) == 0 || phrase == "" {
		return false
	}
	if f.asked == nil {
		f.asked = bytes.ToLower(f.request)
	}
	return bytes.Contains(f.asked, []byte(phrase))
}

// withoutQuotes takes out what stands in quotes. An apostrophe within a word
// opens none; a quote that is not closed reaches to the end.
func withoutQuotes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		closing := ""
		for _, q := range [...][2]string{{`"`, `"`}, {"`", "`"}, {"“", "”"}, {"‘", "’"}, {"«", "»"}, {"「", "」"}, {"'", "'"}} {
			if strings.HasPrefix(s[i:], q[0]) && (q[0] != "'" || i == 0 || !isLetter(s[i-1])) {
				closing = q[1]
				i += len(q[0])
				break
			}
		}
		if closing == "" {
			b.WriteByte(s[i])
			i++
			continue
		}
		j := strings.Index(s[i:], closing)
		for closing == "'" && j >= 0 && i+j+1 < len(s) && isLetter(s[i+j+1]) { // an apostrophe
			k := strings.Index(s[i+j+1:], closing)
			if k < 0 {
				j = -1
				break
			}
			j += 1 + k
		}
		b.WriteByte(' ')
		if j < 0 {
			break
		}
		i += j + len(closing)
	}
	return b.String()
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
