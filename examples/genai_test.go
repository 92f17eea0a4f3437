package examples

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"google.golang.org/genai"
)

var genaiSDK = sdk{
	name:  "genai",
	tries: 1,
	connect: func(t *testing.T, url string, client *http.Client) asker {
		c, err := genai.NewClient(t.Context(), &genai.ClientConfig{
			APIKey:      "test",
			Backend:     genai.BackendGeminiAPI,
			HTTPClient:  client,
			HTTPOptions: genai.HTTPOptions{BaseURL: url},
		})
		if err != nil {
			t.Fatal(err)
		}
		return askGenAI(c)
	},
	failure: func(err error) (int, string) {
		var e genai.APIError
		if errors.As(err, &e) {
			return e.Code, e.Message
		}
		return 0, ""
	},
}

func askGenAI(client *genai.Client) asker {
	return func(ctx context.Context, said func(string)) (a answer, err error) {
		const model = "gemini-2.5-flash"
		used := func(u *genai.GenerateContentResponseUsageMetadata) {
			if u != nil {
				a.input, a.output = int64(u.PromptTokenCount), int64(u.CandidatesTokenCount)
			}
		}
		if said == nil {
			res, err := client.Models.GenerateContent(ctx, model, genai.Text(prompt), nil)
			if err != nil {
				return a, err
			}
			used(res.UsageMetadata)
			a.text = res.Text()
			return a, nil
		}
		for res, err := range client.Models.GenerateContentStream(ctx, model, genai.Text(prompt), nil) {
			if err != nil {
				return a, err
			}
			used(res.UsageMetadata)
			said(res.Text())
		}
		return a, nil
	}
}
