package examples

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

var openaiSDK = sdk{
	name:  "openai-go",
	tries: 3,
	connect: func(_ *testing.T, url string, client *http.Client) asker {
		return askOpenAI(newOpenAI(url, client))
	},
	failure: func(err error) (int, string) {
		var e *openai.Error
		if errors.As(err, &e) {
			return e.StatusCode, e.Message
		}
		return 0, ""
	},
}

func newOpenAI(url string, client *http.Client) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("test"), option.WithHTTPClient(client))
}

func askOpenAI(client openai.Client) asker {
	return func(ctx context.Context, said func(string)) (a answer, err error) {
		params := openai.ChatCompletionNewParams{
			Model:    "gpt-4o-mini",
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
		}
		if said == nil {
			c, err := client.Chat.Completions.New(ctx, params)
			if err != nil {
				return a, err
			}
			return answer{c.Choices[0].Message.Content, c.Usage.PromptTokens, c.Usage.CompletionTokens}, nil
		}
		params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
		stream := client.Chat.Completions.NewStreaming(ctx, params)
		defer stream.Close()
		for stream.Next() {
			chunk := stream.Current()
			if chunk.Usage.TotalTokens > 0 {
				a.input, a.output = chunk.Usage.PromptTokens, chunk.Usage.CompletionTokens
			}
			for _, choice := range chunk.Choices {
				said(choice.Delta.Content)
			}
		}
		return a, stream.Err()
	}
}

// Milliseconds are waited for where they are given: the thirty seconds beside
// them are longer than a call of this test may take.
func TestOpenAIRetryAfterMs(t *testing.T) {
	t.Parallel()
	r := newRig(t, openaiSDK, &snubbertest.Provider{})
	r.provider.Script(snubbertest.Reply{Status: 429, Header: http.Header{"Retry-After": {"30"}, "Retry-After-Ms": {"20"}}})
	r.works(t, false)
	r.wants(t, 1, 2)
}

// A stream that its reader has had enough of gives back its place, and its
// connection with it, though neither context nor stream has ended.
func TestOpenAIStreamClosedEarly(t *testing.T) {
	t.Parallel()
	r := newRig(t, openaiSDK, &snubbertest.Provider{})
	r.provider.Inject(snubbertest.Fault{Kind: snubbertest.Stall, After: 4, Times: 1})
	client := newOpenAI(r.url, &http.Client{Transport: r.above})
	stream := client.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{
		Model:    "gpt-4o-mini",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	})
	if !stream.Next() {
		t.Fatal(stream.Err())
	}
	if n := r.count(func(q snubber.QueueStatus) int { return q.InFlight }); n != 1 {
		t.Errorf("%d calls are in flight while the stream is read, want 1", n)
	}
	stream.Close()
	r.idle(t)
	r.works(t, true)
	r.wants(t, 2, 2)
}

// Responses and embeddings go the same way as chat.
func TestOpenAIOtherPaths(t *testing.T) {
	t.Parallel()
	p := &snubbertest.Provider{}
	r := newRig(t, openaiSDK, p)
	client := newOpenAI(r.url, &http.Client{Transport: r.above})

	p.Script(snubbertest.Reply{Status: 503}, snubbertest.Reply{})
	res, err := client.Responses.New(t.Context(), responses.ResponseNewParams{
		Model: "gpt-4o-mini",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(prompt)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.OutputText(), "The quick brown fox jumps over the lazy dog."; got != want {
		t.Errorf("the response is %q, want %q", got, want)
	}

	p.Script(snubbertest.Reply{Status: 503}, snubbertest.Reply{})
	emb, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: "text-embedding-3-small",
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(emb.Data) != 2 || emb.Data[1].Embedding[1] != 1 {
		t.Errorf("the embeddings are %+v", emb.Data)
	}
	r.wants(t, 2, 4)
}
