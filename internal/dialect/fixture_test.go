package dialect

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

type fixture struct {
	File     string   `json:"file"`
	Provider string   `json:"provider"`
	Status   int      `json:"status"`
	Kind     string   `json:"kind"`
	WaitS    *float64 `json:"wait_s"`
	Class    string   `json:"class"` // "": it is in verdicts
}

func loadFixtures(t testing.TB) []fixture {
	t.Helper()
	raw, err := os.ReadFile("testdata/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []fixture
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// load reads a recorded response as one that came through a gateway: no host
// is known, so that body and header have to do.
func (fx fixture) load(t testing.TB) *Response {
	t.Helper()
	res := wiretest.Recorded(t, filepath.Join("testdata", fx.File))
	return &Response{
		Route: fx.route(), Host: "gateway.example", Status: res.Status, Header: res.Header, Body: []byte(res.Body),
		// Years beside the Date of the fixtures: no instant may be read by it.
		Now: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (fx fixture) route() Route {
	path := "/v1/chat/completions"
	switch fx.Provider {
	case "anthropic":
		path = "/v1/messages"
	case "gemini", "vertex":
		path = "/v1beta/models/m:generateContent"
	case "cohere":
		path = "/v2/chat"
	case "bedrock":
		path = "/model/m/converse"
	case "ollama":
		path = "/api/chat"
	}
	return RouteOf("POST", &url.URL{Path: path})
}

// errorEvent finds the payload of the error event in a recorded stream.
func errorEvent(t testing.TB, r *Response) []byte {
	t.Helper()
	if strings.Contains(r.Header.Get("Content-Type"), "amazon.eventstream") {
		i := bytes.LastIndex(r.Body, []byte(`{"message"`))
		j := bytes.LastIndexByte(r.Body, '}')
		r.Header.Set("X-Amzn-ErrorType", "throttlingException")
		return r.Body[i : j+1]
	}
	var last []byte
	for line := range bytes.Lines(r.Body) {
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
		if bytes.HasPrefix(line, []byte("{")) {
			last = line
		}
	}
	if last == nil {
		t.Fatal("no event found")
	}
	return last
}

// verdicts is what each recorded failure means, in more detail than the index.
var verdicts = map[string]struct {
	class    Class
	reason   string
	declined bool
}{
	"openai_429_rate_limit_tpm.http":                    {RateLimited, "rate_limit_exceeded", true},
	"openai_429_rate_limit_ms_message.http":             {RateLimited, "rate_limit_exceeded", true},
	"openai_429_insufficient_quota.http":                {QuotaExhausted, "insufficient_quota", true},
	"openai_429_organization_usage_limit_exceeded.http": {QuotaExhausted, "organization_usage_limit_exceeded", true},
	"openai_500_server_error.http":                      {ServerError, "server_error", false},
	"openai_502_cloudflare_html.http":                   {ServerError, "http_502", false},
	"openai_chat_stream_error_first.http":               {Overloaded, "server_is_overloaded", true},
	"openai_responses_stream_error_event.http":          {ServerError, "server_error", false},
	"openai_responses_stream_failed.http":               {RateLimited, "rate_limit_exceeded", true},
	"azure_429_long.http":                               {QuotaExhausted, "ratelimitreached", true},
	"azure_400_content_filter.http":                     {Filtered, "content_filter", false},
	"azure_chat_stream_error.http":                      {ServerError, "server_error", false},
	"anthropic_429_rate_limit.http":                     {RateLimited, "rate_limit_error", true},
	"anthropic_429_spend_limit.http":                    {QuotaExhausted, "enforced_spend_limit_reached", true},
	"anthropic_400_credit_balance.http":                 {QuotaExhausted, "invalid_request_error", false},
	"anthropic_504_timeout.http":                        {ServerError, "timeout_error", false},
	"anthropic_402_billing.http":                        {QuotaExhausted, "billing_error", false},
	"anthropic_messages_stream_error.http":              {Overloaded, "overloaded_error", true},
	"anthropic_messages_stream_error_first.http":        {Overloaded, "overloaded_error", true},
	"gemini_429_rate_limit.http":                        {RateLimited, "resource_exhausted", true},
	"gemini_429_insufficient_quota.http":                {QuotaExhausted, "resource_exhausted", true},
	"gemini_429_stream_sse_content_type.http":           {RateLimited, "resource_exhausted", true},
	"gemini_402_prepaid.http":                           {QuotaExhausted, "resource_exhausted", false},
	"gemini_504_deadline.http":                          {ServerError, "deadline_exceeded", false},
	"gemini_generate_stream_error.http":                 {Overloaded, "unavailable", true},
	"gemini_interactions_stream_error.http":             {RateLimited, "too_many_requests", true},
	"vertex_429_resource_exhausted.http":                {RateLimited, "resource_exhausted", true},
	"vertex_stream_error.http":                          {RateLimited, "resource_exhausted", true},
	"mistral_429_rate_limit.http":                       {RateLimited, "rate_limited", true},
	"mistral_429_capacity.http":                         {RateLimited, "service_tier_capacity_exceeded", true},
	"mistral_503_overloaded.http":                       {Overloaded, "http_503", true},
	"mistral_chat_stream_error.http":                    {ServerError, "internal_server_error", false},
	"groq_429_insufficient_quota.http":                  {QuotaExhausted, "rate_limit_exceeded", true},
	"groq_413_too_large.http":                           {TooLong, "rate_limit_exceeded", false},
	"groq_503_overloaded.http":                          {Overloaded, "internal_server_error", true},
	"groq_chat_stream_error.http":                       {ServerError, "internal_server_error", false},
	"cohere_429_insufficient_quota.http":                {QuotaExhausted, "http_429", true},
	"cohere_chat_stream_error.http":                     {ServerError, "error", false},
	"together_429_rate_limit.http":                      {RateLimited, "dynamic_request_limited", true},
	"together_402_insufficient_quota.http":              {QuotaExhausted, "credit_limit", false},
	"together_503_overloaded.http":                      {Overloaded, "service_unavailable", true},
	"fireworks_402_insufficient_quota.http":             {QuotaExhausted, "payment_required", false},
	"deepseek_429_rate_limit.http":                      {RateLimited, "rate_limit_reached", true},
	"deepseek_402_insufficient_quota.http":              {QuotaExhausted, "invalid_request_error", false},
	"deepseek_503_overloaded.http":                      {Overloaded, "service_unavailable_error", true},
	"deepseek_chat_stream_error.http":                   {Overloaded, "service_unavailable_error", true},
	"xai_429_rate_limit.http":                           {RateLimited, "http_429", true},
	"xai_429_insufficient_quota.http":                   {QuotaExhausted, "http_429", true},
	"xai_503_overloaded.http":                           {Overloaded, "http_503", true},
	"openrouter_chat_success_error_body.http":           {ServerError, "http_502", false},
	"openrouter_429_rate_limit.http":                    {RateLimited, "http_429", true},
	"openrouter_429_upstream.http":                      {RateLimited, "http_429", true},
	"openrouter_429_insufficient_quota.http":            {QuotaExhausted, "http_429", true},
	"openrouter_402_insufficient_quota.http":            {QuotaExhausted, "http_402", false},
	"openrouter_402_in_flight_budget.http":              {RateLimited, "openrouter_in_flight_budget", true},
	"openrouter_503_overloaded.http":                    {Overloaded, "http_503", true},
	"openrouter_chat_stream_error.http":                 {ServerError, "server_error", false},
	"bedrock_429_insufficient_quota.http":               {QuotaExhausted, "throttlingexception", true},
	"bedrock_503_overloaded.http":                       {Overloaded, "serviceunavailableexception", true},
	"bedrock_429_model_not_ready.http":                  {Transient, "modelnotreadyexception", true},
	"bedrock_424_model_error.http":                      {Transient, "modelerrorexception", false},
	"bedrock_408_model_timeout.http":                    {Transient, "modeltimeoutexception", false},
	"bedrock_converse_stream_error.http":                {RateLimited, "throttlingexception", true},
	"ollama_503_overloaded.http":                        {Overloaded, "http_503", true},
	"ollama_chat_stream_error.http":                     {ServerError, "error", false},
	"vllm_chat_stream_error.http":                       {ServerError, "internalservererror", false},
	"cerebras_429_queue_exceeded.http":                  {Overloaded, "queue_exceeded", true},
	"ietf_429_ratelimit_fields.http":                    {RateLimited, "quota-exceeded", true},
}

func TestFixtures(t *testing.T) {
	byKind := map[string][]Class{
		"ok":       {Success},
		"retry":    {RateLimited, Overloaded, ServerError, Transient},
		"terminal": {QuotaExhausted, TooLong, Filtered, Invalid},
	}
	files, _ := filepath.Glob("testdata/*.http")
	all := loadFixtures(t)
	if len(files) != len(all) {
		t.Errorf("%d recorded responses, %d in the index", len(files), len(all))
	}
	for _, fx := range all {
		t.Run(fx.File, func(t *testing.T) {
			r := fx.load(t)
			var v Verdict
			switch fx.Kind {
			case "stream_ok", "stream_truncated":
				if v := Classify(r); v.Class != Success {
					t.Errorf("the head of a stream is %v", v.Class)
				}
				return
			case "stream_error":
				if v := Classify(r); v.Class != Success {
					t.Errorf("the head of a stream is %v", v.Class)
				}
				v = ClassifyEvent(r.Route, r.Host, r.Header, errorEvent(t, r), r.Now)
			default:
				v = Classify(r)
				fits := false
				for _, c := range byKind[fx.Kind] {
					fits = fits || v.Class == c
				}
				if !fits {
					t.Errorf("class %d is not %q", v.Class, fx.Kind)
				}
			}
			want, ok := verdicts[fx.File]
			if !ok && fx.Class != "" {
				want.class, want.reason = classNames[fx.Class], v.Reason
				want.declined = r.Status == 429 || want.class == RateLimited || want.class == Overloaded
			} else if !ok && fx.Kind == "ok" {
				want.class = Success
			} else if !ok {
				t.Fatal("no verdict in the table")
			}
			if v.Class != want.class || v.Reason != want.reason || v.Declined != want.declined {
				t.Errorf("got class %d, reason %q, declined %v; want %+v", v.Class, v.Reason, v.Declined, want)
			}
			wait := 0.0
			if fx.WaitS != nil {
				wait = *fx.WaitS
			}
			if math.Abs(v.Wait.Seconds()-wait) > 1e-9 {
				t.Errorf("wait %v, want %v s", v.Wait, wait)
			}
		})
	}
}

// An error body that was cut off still gives what came before the cut.
func TestFixturesCut(t *testing.T) {
	for _, fx := range loadFixtures(t) {
		r := fx.load(t)
		whole := r.Body
		for n := range whole {
			r.Body = whole[:n]
			v := Classify(r)
			if fx.Status >= 400 && v.Class == Success || v.Wait < 0 || v.Reason != reasonOf(v.Reason) {
				t.Fatalf("%s cut at %d: %+v", fx.File, n, v)
			}
		}
	}
}
