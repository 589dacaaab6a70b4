//go:build linux && race

package libaio

const raceEnabled = true
