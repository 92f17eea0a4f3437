// Package bench measures the cost of a [snubber.Transport] when nothing fails, beside
// peers in the same run. Its tests check the allocations, and properties that must hold
// for random inputs. Command effectiveness measures how well a Transport uses a quota.
//
//	go run ./overhead         the table, and whether the limits hold
//	go run ./cache            the same for responses from the cache, beside other caches
//	go run ./firstbyte        the delay of a stream's first content
//	go test -bench . -benchmem
package bench
