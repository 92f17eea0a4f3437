package examples

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	goopenai "github.com/sashabaranov/go-openai"
)

var goopenaiSDK = sdk{
	name:  "sashabaranov/go-openai",
	tries: 1,
	connect: func(_ *testing.T, url string, client *http.Client) asker {
		config := goopenai.DefaultConfig("test")
		config.BaseURL = url + "/v1"
		config.HTTPClient = client
		return askGoOpenAI(goopenai.NewClientWithConfig(config))
	},
	failure: func(err error) (int, string) {
		var e *goopenai.APIError
		if errors.As(err, &e) {
			return e.HTTPStatusCode, e.Message
		}
		return 0, ""
	},
}

func askGoOpenAI(client *goopenai.Client) asker {
	return func(ctx context.Context, said func(string)) (a answer, err error) {
		request := goopenai.ChatCompletionRequest{
			Model:    "gpt-4o-mini",
			Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: prompt}},
		}
		if said == nil {
			res, err := client.CreateChatCompletion(ctx, request)
			if err != nil {
				return a, err
			}
			return answer{res.Choices[0].Message.Content, int64(res.Usage.PromptTokens), int64(res.Usage.CompletionTokens)}, nil
		}
		request.StreamOptions = &goopenai.StreamOptions{IncludeUsage: true}
		stream, err := client.CreateChatCompletionStream(ctx, request)
		if err != nil {
			return a, err
		}
		defer stream.Close()
		for {
			chunk, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return a, nil
			}
			if err != nil {
				return a, err
			}
			if chunk.Usage != nil {
				a.input, a.output = int64(chunk.Usage.PromptTokens), int64(chunk.Usage.CompletionTokens)
			}
			for _, choice := range chunk.Choices {
				said(choice.Delta.Content)
			}
		}
	}
}
