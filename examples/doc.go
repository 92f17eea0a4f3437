// Package examples runs unmodified AI SDKs through snubber, against the fake provider of
// snubbertest on real sockets. Its tests show how to wire each SDK, and check what
// holds for all of them. Command quickstart is the demonstration.
package examples
