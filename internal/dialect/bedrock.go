package dialect

// Amazon Bedrock: the errors of InvokeModel and Converse in its API reference.
// The class is in X-Amzn-ErrorType, in a stream in the frame's :exception-type.
var bedrock = provider{
	words: map[string]Class{
		"modelnotreadyexception":        Transient,
		"modelerrorexception":           Transient,
		"modelstreamerrorexception":     Transient,
		"modeltimeoutexception":         Transient,
		"serviceunavailableexception":   Overloaded,
		"servicequotaexceededexception": QuotaExhausted,
	},
	phrases: []phrase{
		{text: "input is too long", class: TooLong, on: onSize},
	},
	vague: map[string]Class{
		"throttlingexception":       RateLimited,
		"internalserverexception":   ServerError,
		"validationexception":       Invalid,
		"accessdeniedexception":     Invalid,
		"resourcenotfoundexception": Invalid,
	},
	misdirects: []string{"accessdeniedexception", "unrecognizedclientexception", "expiredtokenexception", "resourcenotfoundexception"},
	// 424 is a model that failed; elsewhere a caller's mistake.
	mark:   func(f *failure) bool { return f.route.Format == Bedrock || f.header.Get("X-Amzn-Requestid") != "" },
	status: map[int]Class{424: Transient},
}
