//go:build race

package aiotest

// Race is whether the race detector is on: ten times slower, and not sparing of memory.
const Race = true
