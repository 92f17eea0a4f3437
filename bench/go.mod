module github.com/seed-9e4f5248/snubber/bench

go 1.26.0

require (
	github.com/bartventer/httpcache v0.13.0
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/gregjones/httpcache v0.0.0-20190611155906-901d90724c79
	github.com/sandrolain/httpcache v1.4.0
	github.com/seed-9e4f5248/snubber v0.0.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/cenkalti/backoff/v4 v4.3.0
	github.com/coder/websocket v1.8.15 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.8
	github.com/influxdata/tdigest v0.0.1 // indirect
	github.com/openai/openai-go/v3 v3.96.0
	github.com/sony/gobreaker/v2 v2.4.0
	github.com/tidwall/gjson v1.20.0 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.1 // indirect
	github.com/tidwall/sjson v1.2.5 // indirect
	golang.org/x/time v0.15.0
)

replace github.com/seed-9e4f5248/snubber => ../
