// Package bench measures what a [snubber.Transport] costs where nothing fails,
// beside a peer in the same run, and holds the properties that random inputs
// must not break. What a Transport makes of a quota is measured by effectiveness.
//
//	go run ./overhead         the table, and whether the limits hold
//	go run ./cache            the same for answers from the cache, beside other caches
//	go test -bench . -benchmem
package bench
