//go:build linux && !race

package libaio

const raceEnabled = false
