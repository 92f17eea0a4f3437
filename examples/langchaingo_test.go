package examples

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/anthropic"
	"github.com/tmc/langchaingo/llms/openai"
)

var langchainOpenAI = sdk{
	name:    "langchaingo-openai",
	tries:   1,
	failure: langchainFailure,
	opaque:  true,
	connect: func(t *testing.T, url string, client *http.Client) asker {
		llm, err := openai.New(openai.WithToken("test"), openai.WithModel("gpt-4o-mini"), openai.WithBaseURL(url+"/v1"), openai.WithHTTPClient(client))
		if err != nil {
			t.Fatal(err)
		}
		return askLangchain(llm, "PromptTokens", "CompletionTokens")
	},
}

var langchainAnthropic = sdk{
	name:    "langchaingo-anthropic",
	tries:   1,
	failure: langchainFailure,
	connect: func(t *testing.T, url string, client *http.Client) asker {
		llm, err := anthropic.New(anthropic.WithToken("test"), anthropic.WithModel("claude-haiku-4-5"), anthropic.WithBaseURL(url+"/v1"), anthropic.WithHTTPClient(client))
		if err != nil {
			t.Fatal(err)
		}
		return askLangchain(llm, "InputTokens", "OutputTokens")
	},
}

// langchainFailure takes the text apart: langchaingo keeps no more of a
// response than that.
func langchainFailure(err error) (status int, message string) {
	if err == nil {
		return 0, ""
	}
	_, rest, _ := strings.Cut(err.Error(), "API returned unexpected status code: ")
	fmt.Sscanf(rest, "%d", &status)
	_, message, _ = strings.Cut(rest, ": ")
	return status, message
}

func askLangchain(llm llms.Model, input, output string) asker {
	return func(ctx context.Context, said func(string)) (a answer, err error) {
		var options []llms.CallOption
		if said != nil {
			options = append(options, llms.WithStreamingFunc(func(_ context.Context, piece []byte) error {
				said(string(piece))
				return nil
			}))
		}
		res, err := llm.GenerateContent(ctx, []llms.MessageContent{llms.TextParts(llms.ChatMessageTypeHuman, prompt)}, options...)
		if err != nil {
			return a, err
		}
		choice := res.Choices[0]
		in, _ := choice.GenerationInfo[input].(int)
		out, _ := choice.GenerationInfo[output].(int)
		return answer{choice.Content, int64(in), int64(out)}, nil
	}
}
