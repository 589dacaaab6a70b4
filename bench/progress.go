//go:build linux

package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A bar shows the progress, on a terminal. Elsewhere, and as nil, it is silent.
type bar struct {
	bar  *progressbar.ProgressBar
	done int
}

// newBar returns a bar for total steps, or bytes.
func newBar(w *os.File, total int64, what string, bytes bool) *bar {
	b := &bar{}
	if !term.IsTerminal(int(w.Fd())) {
		return b
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(40),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
	}
	if bytes {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	}
	b.bar = progressbar.NewOptions64(total, options...)
	return b
}

func (b *bar) describe(what string) {
	if b.bar != nil {
		b.bar.Describe(what)
	}
}

func (b *bar) advance(n int) {
	b.done += n
	if b.bar != nil && n > 0 {
		_ = b.bar.Add(n)
	}
}

// clear removes the bar from the screen.
func (b *bar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
