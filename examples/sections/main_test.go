package main

import (
	"testing"

	"github.com/go-aio/aio/examples/internal/compare/comparetest"
)

func TestSame(t *testing.T) { comparetest.Same(t, program) }
