package snubber

// String is "none", "retry" or "stop".
func (a Advice) String() string {
	switch a {
	case AdviceRetry:
		return "retry"
	case AdviceStop:
		return "stop"
	}
	return "none"
}

// MarshalText is String, so that JSON and structured logs show the name and not the
// number.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText is String, so that JSON and structured logs show the name and not the
// number.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText is String, so that JSON and structured logs show the name and not the
// number.
func (s CircuitState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText is String, so that JSON and structured logs show the name and not the
// number.
func (a Advice) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
