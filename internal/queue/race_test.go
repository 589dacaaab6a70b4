//go:build linux && race

package queue

// raceDetector is on: all is slow, and sync.Pool drops what it is given, now and then.
const raceDetector = true
