//go:build race

package aiotest

// Race reports whether the race detector is on. It makes tests ten times slower, and needs much
// memory.
const Race = true
