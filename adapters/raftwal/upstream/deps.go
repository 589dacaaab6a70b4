//go:build suites

package main

// These are imports of raft-wal's tests, for go.mod and go.sum.
import (
	_ "github.com/stretchr/testify/require"
)
