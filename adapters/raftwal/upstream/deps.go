//go:build suites

package main

// What the tests of raft-wal import, so that go.mod and go.sum have it.
import (
	_ "github.com/stretchr/testify/require"
)
