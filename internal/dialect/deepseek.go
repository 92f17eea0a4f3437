package dialect

// DeepSeek: https://api-docs.deepseek.com/quick_start/error_codes. No quotas, a
// limit of concurrent calls only; its types and codes are too vague to use.
var deepseek = provider{
	phrases: []phrase{
		{text: "insufficient balance", class: QuotaExhausted, on: onQuota},
		{text: "too busy", class: Overloaded, on: onOverload},
		{text: "content exists risk", class: Filtered, on: onFilter},
	},
}
