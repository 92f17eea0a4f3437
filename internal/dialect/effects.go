package dialect

import (
	"bytes"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

// Effects says what a prompt has to do with besides its own bytes: the name of
// the member, or of another cause, or "".
type Effects struct {
	// Lasting is what sending it leaves behind on the server that counts, a
	// conversation or a container: to send it again makes another one.
	Lasting string
	// World is what its answer depends on or is part of, a search of the web or
	// what the server has stored: the same bytes have another answer tomorrow.
	// All that is lasting is of this kind, too.
	World string
}

// Effects reads the body of a request on r. A tool that is not declared as a
// function of the caller's is run by the server. Members are judged by the words
// in their names where [effectMembers] does not know them: a provider's own
// switch for a search is one that nobody has heard of.
func (r Route) Effects(body []byte) Effects {
	var e Effects
	if strings.HasPrefix(r.Suffix, "agents/") {
		e.World = "agent"
	}
	if strings.Contains(r.Model, ":prompt/") { // an ARN of Bedrock
		e.World = "prompt"
	}
	e.model(r.Model)
	s := jsonscan.NewCursor(body)
	if s.Next().Kind != jsonscan.Object {
		return e
	}
	stores := r.Format == OpenAIResponses
	for {
		key := s.Next()
		if !key.Key {
			break
		}
		name := jsonscan.Unquote(key.Raw)
		switch string(name) {
		case "store":
			if t := peek(&s); t.Kind == jsonscan.True {
				e.World, stores = "store", false
			} else if t.Kind == jsonscan.False {
				stores = false
			}
		case "model":
			if t := peek(&s); t.Kind == jsonscan.String && len(t.Raw) <= maxModel {
				e.model(string(jsonscan.Unquote(t.Raw)))
			}
		case "tools":
			e.tools(&s)
			continue
		case "toolConfig", "parameters", "extra_body":
			at := s
			if t := s.Next(); t.Kind == jsonscan.Object && !t.End {
				e.members(&s)
				continue
			}
			s = at
		default:
			e.member(name, &s)
		}
		s.Skip()
	}
	if stores && e.World == "" {
		e.World = "store" // Responses are, unless the request says no
	}
	return e
}

// members judges the members of an object that settings are kept in.
func (e *Effects) members(s *jsonscan.Cursor) {
	for {
		key := s.Next()
		if !key.Key {
			return
		}
		if name := jsonscan.Unquote(key.Raw); string(name) == "tools" {
			e.tools(s)
		} else {
			e.member(name, s)
			s.Skip()
		}
	}
}

type effect uint8

const (
	noEffect effect = iota
	onWorld
	onBoth // lasting
)

// effectMembers are the top-level members whose names have no word that tells,
// or one that is wrong.
var effectMembers = map[string]effect{
	"background": onBoth, "conversation": onBoth, "conversation_id": onBoth, "conversationId": onBoth, "thread_id": onBoth, "session_id": onBoth,
	"sessionId": onBoth, "mcp_servers": onBoth, "connectors": onBoth, "container": onBoth, "containers": onBoth,
	"previous_response_id": onWorld, "cachedContent": onWorld, "cached_content": onWorld, "transforms": onWorld,
	"search_queries_only": noEffect, "web_search": onWorld, "webSearch": onWorld,
}

// effectWords are found anywhere in a member's name in lower case.
var effectWords = [...]string{"search", "browse", "plugin", "retriev", "connector", "datasource", "data_source", "grounding", "knowledge", "agent", "assistant_id", "mcp", "url_context", "web_"}

func effectOf(name []byte) effect {
	if e, ok := effectMembers[string(name)]; ok {
		return e
	}
	if len(name) > 64 {
		return noEffect
	}
	var buf [64]byte
	lower := buf[:copy(buf[:], name)]
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	for _, w := range effectWords {
		if bytes.Contains(lower, []byte(w)) {
			if w == "mcp" {
				return onBoth
			}
			return onWorld
		}
	}
	return noEffect
}

// member judges the member whose value is next. What is switched off has none.
func (e *Effects) member(name []byte, s *jsonscan.Cursor) {
	effect := effectOf(name)
	if effect == noEffect && string(name) == "prompt" && templated(s) {
		effect = onWorld
	}
	if effect == noEffect || inert(s) {
		return
	}
	e.World = string(name)
	if effect == onBoth {
		e.Lasting = string(name)
	}
}

// inert reports that the next value switches off what it is of. An empty object
// does not: web_search_options is one.
func inert(s *jsonscan.Cursor) bool {
	at := *s
	switch t := at.Next(); t.Kind {
	case jsonscan.Null, jsonscan.False, jsonscan.None:
		return true
	case jsonscan.String:
		return len(t.Raw) == 0
	case jsonscan.Array:
		next := at.Next()
		return next.End
	}
	return false
}

// templated reports that the next value is an object: a prompt that the server
// has, by its id.
func templated(s *jsonscan.Cursor) bool { return peek(s).Kind == jsonscan.Object }

// model judges a model's name: some models search before they answer.
func (e *Effects) model(name string) {
	if e.World != "" || name == "" {
		return
	}
	name = strings.ToLower(name)
	for _, w := range [...]string{":online", "search", "sonar", "compound"} { // OpenRouter, OpenAI and all deep research, Perplexity, Groq
		if strings.Contains(name, w) {
			e.World = "model"
		}
	}
}

// tools reads past a list of tools. All members of one that has no type have to
// be those of a declaration.
func (e *Effects) tools(s *jsonscan.Cursor) {
	depth := s.Depth
	if t := s.Next(); t.Kind != jsonscan.Array || t.End {
		for t.Kind != jsonscan.None && s.Depth > depth {
			t = s.Next()
		}
		return
	}
	for {
		t := s.Next()
		if t.Kind != jsonscan.Object || t.End {
			if t.Kind == jsonscan.None || t.End && s.Depth <= depth {
				return
			}
			continue
		}
		e.tool(s)
	}
}

func (e *Effects) tool(s *jsonscan.Cursor) {
	kind, typed, stranger := "", false, ""
	for {
		key := s.Next()
		if !key.Key {
			break
		}
		name := string(jsonscan.Unquote(key.Raw))
		if name == "type" {
			t := peek(s)
			if word := string(jsonscan.Unquote(t.Raw)); !typed || word != "function" && word != "custom" {
				kind = word
			}
			typed = true
		} else if !declarations[name] {
			stranger = name
		}
		s.Skip()
	}
	if typed {
		if kind == "function" || kind == "custom" {
			return
		}
	} else if kind = stranger; kind == "" {
		return
	}
	e.World = "server tools"
	for _, w := range lastingTools {
		if strings.HasPrefix(kind, w) {
			e.Lasting = "server tools"
		}
	}
}

// declarations are the members of a tool that is a function of the caller's.
var declarations = map[string]bool{
	"name": true, "description": true, "function": true, "parameters": true, "strict": true, "input_schema": true, "cache_control": true,
	"defer_loading": true, "input_examples": true, "eager_input_streaming": true, "allowed_callers": true,
	"functionDeclarations": true, "function_declarations": true, // Gemini
	"toolSpec": true, "cachePoint": true, // Bedrock
	"parameter_definitions": true, "parameterDefinitions": true, // Cohere v1
}

// lastingTools begin the types of tools that act or leave a container behind.
var lastingTools = [...]string{"mcp", "computer", "code_interpreter", "code_execution", "shell"}

// lastingMember reports whether the member whose value is next leaves something
// behind.
func lastingMember(name []byte, s *jsonscan.Cursor) bool {
	return effectOf(name) == onBoth && !inert(s)
}

// lastingHints are what the text of a tool has that leaves something behind: few,
// for each is looked for in all tools of every prompt.
var lastingHints = [...][]byte{[]byte("mcp"), []byte("puter"), []byte("_interpreter"), []byte("_execution"), []byte("shell")}

// lastingIn reports whether the tools that s is before, whose text is raw, act or
// leave something behind. Nearly no tools have such a type, and to look for its
// first letters takes a tenth of the time of reading them.
func lastingIn(s jsonscan.Cursor, raw []byte, list bool) bool {
	for _, w := range lastingHints {
		if !bytes.Contains(raw, w) {
			continue
		}
		var e Effects
		if list {
			e.tools(&s)
		} else if t := s.Next(); t.Kind == jsonscan.Object && !t.End {
			e.members(&s)
		}
		return e.Lasting != ""
	}
	return false
}

func peek(s *jsonscan.Cursor) jsonscan.Token {
	at := *s
	return at.Next()
}
