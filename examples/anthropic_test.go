package examples

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

var anthropicSDK = sdk{
	name:  "anthropic-sdk-go",
	tries: 3,
	connect: func(_ *testing.T, url string, client *http.Client) asker {
		return askAnthropic(anthropic.NewClient(option.WithBaseURL(url), option.WithAPIKey("test"), option.WithHTTPClient(client)))
	},
	failure: func(err error) (int, string) {
		var e *anthropic.Error
		if !errors.As(err, &e) {
			return 0, ""
		}
		var body struct{ Error struct{ Message string } }
		json.Unmarshal([]byte(e.RawJSON()), &body)
		return e.StatusCode, body.Error.Message
	},
}

func askAnthropic(client anthropic.Client) asker {
	return func(ctx context.Context, said func(string)) (a answer, err error) {
		params := anthropic.MessageNewParams{
			Model:     "claude-haiku-4-5",
			MaxTokens: 100,
			Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(prompt))},
		}
		if said == nil {
			m, err := client.Messages.New(ctx, params)
			if err != nil {
				return a, err
			}
			return answer{m.Content[0].Text, m.Usage.InputTokens, m.Usage.OutputTokens}, nil
		}
		stream := client.Messages.NewStreaming(ctx, params)
		defer stream.Close()
		for stream.Next() {
			switch e := stream.Current().AsAny().(type) {
			case anthropic.MessageStartEvent:
				a.input = e.Message.Usage.InputTokens
			case anthropic.ContentBlockDeltaEvent:
				said(e.Delta.Text)
			case anthropic.MessageDeltaEvent:
				a.output = e.Usage.OutputTokens
			}
		}
		return a, stream.Err()
	}
}
