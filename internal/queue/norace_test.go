//go:build linux && !race

package queue

const raceDetector = false
