package dialect

// xAI: https://docs.x.ai/docs/key-information/debugging. Its code is a sentence,
// the same one for a rate limit and for spent credits; OpenAI's headers.
var xai = provider{
	phrases: []phrase{
		{text: "available credits", class: QuotaExhausted, on: onQuota},
		{text: "spending limit", class: QuotaExhausted, on: onQuota},
		{text: "maximum prompt length", class: TooLong, on: onSize},
		{text: "usage guidelines", class: Filtered, on: onFilter},
		{text: "at capacity", class: Overloaded, on: onOverload},
	},
	misdirects: []string{"incorrect api key"}, // a 400
}
