//go:build !unix

package aiotest

import "time"

// processorTime is not known here. The clock stands for it, so that nothing but the time that go
// test gives ends a test.
func processorTime() time.Duration { return time.Since(began) }
