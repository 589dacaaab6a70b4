//go:build !unix

package aiotest

import "time"

// processorTime returns the time of the clock, so that only the deadline of go test ends a test.
func processorTime() time.Duration { return time.Since(began) }
