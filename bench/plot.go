//go:build linux

package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes of the drawing, in points.
const (
	panelWidth   = vg.Length(360)
	panelHeight  = vg.Length(270)
	headerHeight = vg.Length(56)
	margin       = vg.Length(16)
)

// A look distinguishes an engine by colour, by shape and by dash, so that one of these suffices.
// The colours are Okabe and Ito's, which colour-blind readers can distinguish.
type look struct {
	color color.Color
	shape draw.GlyphDrawer
	dash  []vg.Length
}

var looks = map[engine]look{
	osEngine:     {color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, draw.BoxGlyph{}, nil},
	cachedEngine: {color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff}, draw.RingGlyph{}, []vg.Length{2, 2}},
	aioEngine:    {color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, draw.CircleGlyph{}, nil},
	fioEngine:    {color.RGBA{R: 0x77, G: 0x77, B: 0x77, A: 0xff}, draw.PyramidGlyph{}, []vg.Length{5, 3}},
}

func (l look) line() draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: vg.Points(1.75), Dashes: l.dash}
}

func (l look) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: l.color, Radius: vg.Points(3.25), Shape: l.shape}
}

// writeSVG draws a column of panels for each workload: throughput above, p99 below.
func (rep *report) writeSVG(path string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	panels := make([][]*plot.Plot, 2)
	for _, w := range rep.Plan.Workloads {
		rows := rep.rowsOf(w)
		if len(rows) == 0 {
			continue
		}
		above, err := throughputPanel(w, rows)
		if err != nil {
			return err
		}
		below, err := latencyPanel(rows)
		if err != nil {
			return err
		}
		panels[0], panels[1] = append(panels[0], above), append(panels[1], below)
	}
	columns := len(panels[0])
	canvas := vgsvg.New(max(panelWidth*vg.Length(columns), 640), headerHeight+2*panelHeight)
	whole := draw.New(canvas)
	whole.FillPolygon(color.White, corners(whole.Rectangle))
	rep.drawHeader(draw.Crop(whole, margin, -margin, 2*panelHeight, 0))
	tiles := draw.Tiles{
		Rows: 2, Cols: columns,
		PadLeft: 2 * margin, PadRight: margin, PadBottom: 2 * margin, PadX: 3 * margin, PadY: 1.5 * margin,
	}
	below := draw.Crop(whole, 0, 0, 0, -headerHeight)
	for i, line := range plot.Align(panels, tiles, below) {
		for j, tile := range line {
			panels[i][j].Draw(tile)
			drawLabels(tiles.At(below, j, i), axisLabels[i])
		}
	}
	return saveSVG(canvas, path)
}

// axisLabels are x and y of each row of panels; the upper row shares the x of the lower. They are
// drawn here, because plot.Plot leaves room for the label of a logarithmic axis in the wrong place.
var axisLabels = [2][2]string{
	{"", "operations a second"},
	{"goroutines (fio: requests in flight)", "99th percentile of latency"},
}

// drawLabels draws next to a tile, into the padding around it.
func drawLabels(tile draw.Canvas, labels [2]string) {
	style := plot.New().X.Label.TextStyle
	style.Font.Size, style.XAlign, style.YAlign = 11, draw.XCenter, draw.YTop
	tile.FillText(style, vg.Point{X: tile.Center().X, Y: tile.Min.Y - 3}, labels[0])
	style.Rotation, style.YAlign = math.Pi/2, draw.YBottom
	tile.FillText(style, vg.Point{X: tile.Min.X - 3, Y: tile.Center().Y}, labels[1])
}

// saveSVG names fallback fonts: few systems have the font that measured the text.
func saveSVG(canvas *vgsvg.Canvas, path string) error {
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	svg := bytes.ReplaceAll(b.Bytes(),
		[]byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(path, svg, 0o666)
}

func corners(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}}
}

// drawHeader draws one legend for all panels, and below it the environment of the measurement.
func (rep *report) drawHeader(c draw.Canvas) {
	style := plot.New().Legend.TextStyle
	style.Font.Size, style.YAlign = 12, draw.YCenter
	x, y := c.Min.X, c.Max.Y-vg.Points(20)
	for _, e := range allEngines {
		if !rep.has(e) {
			continue
		}
		const length = vg.Length(30)
		c.StrokeLine2(looks[e].line(), x, y, x+length, y)
		c.DrawGlyphNoClip(looks[e].glyph(), vg.Point{X: x + length/2, Y: y})
		name := rep.legend(e)
		c.FillText(style, vg.Point{X: x + length + 6, Y: y}, name)
		x += length + 6 + style.Width(name) + 24
	}
	style.Font.Size, style.Color = 9, color.Gray{Y: 0x60}
	env := rep.Environment
	c.FillText(style, vg.Point{X: c.Min.X, Y: y - vg.Points(20)}, fmt.Sprintf(
		"A file of %s, %s on %s; Linux %s %s, %d CPUs, %s; %s. Bars: the middle half of the rounds.",
		formatSize(env.FileSize), env.Filesystem, env.Device, env.Kernel, env.Arch, env.CPUs, env.Go,
		env.Date.Format("2006-01-02")))
}

// legend returns the name of e, with its meaning if that is the same in all panels.
func (rep *report) legend(e engine) string {
	direct := func(w workload) bool { return rep.Environment.Direct && e.direct(w) }
	switch {
	case e == cachedEngine:
		return "os.File without O_DIRECT"
	case e != fioEngine && !slices.ContainsFunc(rep.Plan.Workloads, func(w workload) bool { return !direct(w) }):
		return string(e) + " with O_DIRECT"
	case e != fioEngine && !slices.ContainsFunc(rep.Plan.Workloads, direct):
		return string(e) + " without O_DIRECT"
	}
	return string(e)
}

func (rep *report) has(e engine) bool {
	return slices.ContainsFunc(rep.Rows, func(r *row) bool { return r.engine(e) != nil })
}

// A series is one engine's points in a panel; each has a median and a middle half.
type series struct {
	plotter.XYs
	plotter.YErrors
}

func throughputPanel(w workload, rows []*row) (*plot.Plot, error) {
	p := newPanel(rows)
	p.Title.Text = w.call()
	highest := 0.0
	for _, e := range allEngines {
		var s series
		for _, r := range rows {
			if res := r.engine(e); res != nil {
				o := res.OpsPerSecond
				s.XYs = append(s.XYs, plotter.XY{X: float64(r.Depth), Y: o.Median})
				s.YErrors = append(s.YErrors, struct{ Low, High float64 }{o.Median - o.Q1, o.Q3 - o.Median})
				highest = max(highest, o.Q3)
			}
		}
		if err := addSeries(p, e, s); err != nil {
			return nil, err
		}
	}
	step := niceStep(highest / 5)
	p.Y.Min, p.Y.Max = 0, math.Ceil(highest/step)*step
	p.Y.Tick.Marker = countTicks(step)
	return p, nil
}

func latencyPanel(rows []*row) (*plot.Plot, error) {
	p := newPanel(rows)
	lowest, highest := math.Inf(1), 0.0
	for _, e := range allEngines {
		var s series
		for _, r := range rows {
			if res := r.engine(e); res != nil && res.Latency != nil {
				s.XYs = append(s.XYs, plotter.XY{X: float64(r.Depth), Y: res.Latency.P99})
				lowest, highest = min(lowest, res.Latency.P99), max(highest, res.Latency.P99)
			}
		}
		if err := addSeries(p, e, s); err != nil {
			return nil, err
		}
	}
	if highest == 0 { // no latency is known
		lowest, highest = 1, 1000
	}
	p.Y.Scale = plot.LogScale{}
	p.Y.Min, p.Y.Max = lowest/1.5, highest*1.5
	p.Y.Tick.Marker = latencyTicks{}
	return p, nil
}

// newPanel returns a panel with the common x axis of a column.
func newPanel(rows []*row) *plot.Plot {
	p := plot.New()
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 0xe4}, color.Gray{Y: 0xe4}
	p.Add(grid)
	p.Title.TextStyle.Font.Size, p.Title.Padding = 14, 6
	p.Title.TextStyle.Font.Weight = 2 // bold
	p.X.Padding, p.Y.Padding = 0, 0
	p.X.Tick.Length, p.Y.Tick.Length = 5, 5
	var ticks plot.ConstantTicks
	least, most := math.Inf(1), 0.0
	for _, r := range rows {
		x := float64(r.Depth)
		ticks = append(ticks, plot.Tick{Value: x, Label: strconv.Itoa(r.Depth)})
		least, most = min(least, x), max(most, x)
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, ticks
	p.X.Min, p.X.Max = least/1.35, most*1.35
	return p
}

func addSeries(p *plot.Plot, e engine, s series) error {
	if len(s.XYs) == 0 {
		return nil
	}
	slices.SortFunc(s.XYs, func(a, b plotter.XY) int { return int(a.X - b.X) })
	line, points, err := plotter.NewLinePoints(s.XYs)
	if err != nil {
		return err
	}
	line.LineStyle, points.GlyphStyle = looks[e].line(), looks[e].glyph()
	p.Add(line, points)
	if len(s.YErrors) != len(s.XYs) {
		return nil
	}
	bars, err := plotter.NewYErrorBars(s)
	if err != nil {
		return err
	}
	bars.LineStyle = draw.LineStyle{Color: looks[e].color, Width: vg.Points(0.75)}
	p.Add(bars)
	return nil
}

// countTicks are multiples of a step.
type countTicks float64

func (step countTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for i := math.Ceil(low / float64(step)); i*float64(step) <= high*1.001; i++ {
		ticks = append(ticks, plot.Tick{Value: i * float64(step), Label: tickCount(i*float64(step)) + " "})
	}
	return ticks
}

// niceStep returns the least of 1, 2 and 5 times a power of ten that is not below x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= x {
			return m * power
		}
	}
	return 10 * power
}

func tickCount(x float64) string {
	switch {
	case x >= 1e6:
		return strconv.FormatFloat(x/1e6, 'g', 3, 64) + "M"
	case x >= 1000:
		return strconv.FormatFloat(x/1000, 'g', 3, 64) + "k"
	default:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
}

// latencyTicks are at 1, 2 and 5 times the powers of ten of a microsecond; over a wide range only
// the powers have labels.
type latencyTicks struct{}

func (latencyTicks) Ticks(low, high float64) []plot.Tick {
	wide := high/low > 200
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, m := range []float64{1, 2, 5} {
			us := power * m
			if us < low || us > high {
				continue
			}
			t := plot.Tick{Value: us}
			if m == 1 || !wide {
				t.Label = tickDuration(us) + " "
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

func tickDuration(us float64) string {
	round := func(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }
	switch {
	case us >= 0.999e6:
		return round(us/1e6) + " s"
	case us >= 999:
		return round(us/1e3) + " ms"
	default:
		return round(us) + " µs"
	}
}
