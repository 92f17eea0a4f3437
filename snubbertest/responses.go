package snubbertest

// responses is OpenAI's Responses API. It has no [DONE]: the last event is
// response.completed, or response.incomplete when the maximum cut the answer.
var responses = api{vendor: openAI{}, whole: responsesWhole, events: responsesEvents, broken: func(_ int, _, message string) []byte {
	// The API's documented error event has its fields at the top, and no key
	// "error".
	return event("error", object{"type": "error", "code": "server_error", "message": message, "param": nil, "sequence_number": 0})
}}

func response(a *answer, status string, output []any, usage any) object {
	o := object{
		"id": "resp_" + a.id, "object": "response", "created_at": a.created, "status": status, "error": nil,
		"incomplete_details": nil, "model": a.prompt.Model, "output": output, "usage": usage,
		"parallel_tool_calls": true, "tool_choice": "auto", "tools": []any{}, "metadata": object{},
	}
	if status == "incomplete" {
		o["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	return o
}

func responseText(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []any{}}
}

func responseItem(a *answer, status string, content ...any) object {
	return object{"type": "message", "id": "msg_" + a.id, "status": status, "role": "assistant", "content": content}
}

func responsesWhole(a *answer) any {
	status := a.reason("completed", "incomplete")
	usage := object{
		"input_tokens": a.in, "input_tokens_details": object{"cached_tokens": 0},
		"output_tokens": a.out, "output_tokens_details": object{"reasoning_tokens": 0},
		"total_tokens": a.in + a.out,
	}
	return response(a, status, []any{responseItem(a, status, responseText(a.text))}, usage)
}

func responsesEvents(a *answer) [][]byte {
	var events [][]byte
	add := func(kind string, o object) {
		o["type"], o["sequence_number"] = kind, len(events)
		events = append(events, event(kind, o))
	}
	part := func(o object) object {
		o["item_id"], o["output_index"], o["content_index"] = "msg_"+a.id, 0, 0
		return o
	}
	add("response.created", object{"response": response(a, "in_progress", []any{}, nil)})
	add("response.in_progress", object{"response": response(a, "in_progress", []any{}, nil)})
	add("response.output_item.added", object{"output_index": 0, "item": responseItem(a, "in_progress", []any{}...)})
	add("response.content_part.added", part(object{"part": responseText("")}))
	for _, piece := range a.pieces {
		add("response.output_text.delta", part(object{"delta": piece}))
	}
	status := a.reason("completed", "incomplete")
	add("response.output_text.done", part(object{"text": a.text}))
	add("response.content_part.done", part(object{"part": responseText(a.text)}))
	add("response.output_item.done", object{"output_index": 0, "item": responseItem(a, status, responseText(a.text))})
	add("response."+status, object{"response": responsesWhole(a)})
	return events
}
