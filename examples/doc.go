// Package examples runs unmodified AI SDKs through snubber, against the fake
// provider of snubbertest on real sockets. Its tests are how each SDK is
// wired, and what holds for all of them; quickstart is the demonstration.
package examples
