package main

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestProtocol checks the protocol in all orders of small configurations.
func TestProtocol(t *testing.T) { check(t, right) }

// TestPlanted checks that the model shows each planted bug.
func TestPlanted(t *testing.T) { check(t, planted) }

func check(t *testing.T, list []configuration) {
	if err := missing(); err != nil {
		aiotest.Needs(t, err.Error(), "go -C internal/aiotest/trials test ./spin")
	}
	for i, c := range list {
		t.Run(c.name, func(t *testing.T) {
			if !aiotest.Some(i) {
				aiotest.NeedsTime(t)
			}
			line, err := c.run()
			t.Log(line)
			if err != nil {
				t.Error(err)
			}
		})
	}
}
