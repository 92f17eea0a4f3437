package dialect

// Ollama: server/sched.go (ErrMaxQueue). Its errors are one string.
var ollama = provider{
	phrases: []phrase{
		{text: "server busy", class: Overloaded, on: onOverload},
		{text: "maximum pending requests exceeded", class: Overloaded, on: onOverload},
		{text: "input length exceeds", class: TooLong, on: onSize},
	},
}
