package dialect

import "net/http"

// Refusal is the body of an error that never came from the provider, in the
// shape in which an SDK for the format looks for it. code is one of our own,
// snubber_*; it stands where a provider has room for one, and never in the
// place of a type that SDKs know. An Unknown format gets OpenAI's shape, the
// one that most others copied. The status belongs on the response too.
func Refusal(f Format, status int, code, message string) (body []byte) {
	var v object
	switch f {
	case Anthropic:
		v = object{"type": "error", "error": object{
			"type": kindOf(status, "rate_limit_error", "overloaded_error", "timeout_error", "api_error"), "message": message,
			"details": object{"error_code": code},
		}}
	case Gemini:
		v = object{"error": object{
			"code": status, "message": message,
			"status": kindOf(status, "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"),
			"details": []object{{
				"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "snubber",
			}},
		}}
	case Cohere:
		v = object{"message": message, "code": code}
	case Bedrock:
		v = object{
			"__type":  kindOf(status, "ThrottlingException", "ServiceUnavailableException", "ModelTimeoutException", "InternalServerException"),
			"message": message, "reason": code,
		}
	case Ollama:
		v = object{"error": message, "code": code}
	default:
		v = object{"error": object{
			"message": message, "param": nil, "code": code,
			"type": kindOf(status, "requests", "server_error", "server_error", "server_error"),
		}}
	}
	return marshal(v)
}

func kindOf(status int, limited, unavailable, timeout, other string) string {
	switch status {
	case http.StatusTooManyRequests:
		return limited
	case http.StatusServiceUnavailable:
		return unavailable
	case http.StatusGatewayTimeout:
		return timeout
	}
	return other
}
