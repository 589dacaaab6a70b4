package aioprometheus_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	aioprometheus "github.com/go-aio/aio/adapters/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// page opens a buffered file of one page and reads it n times.
func page(t testing.TB, n int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := aio.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range n {
		if _, err := f.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCollectorCounts(t *testing.T) {
	c := aioprometheus.NewCollector()
	before := aio.ReadStats().PageCache
	page(t, 3)
	want := fmt.Sprintf(`
		# HELP aio_page_cache_calls_total Calls through the page cache.
		# TYPE aio_page_cache_calls_total counter
		aio_page_cache_calls_total %d
	`, before+3)
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "aio_page_cache_calls_total"); err != nil {
		t.Error(err)
	}
}

// TestCollectorIsWellFormed checks that names, help and units follow Prometheus's rules, and that
// no series is there twice.
func TestCollectorIsWellFormed(t *testing.T) {
	c := aioprometheus.NewCollector()
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(c, "aio_fallbacks_total"); n != 4 {
		t.Errorf("%d reasons for a fallback, want 4", n)
	}
}

// TestCollectorLatency checks that the histogram has all buckets and counts every request.
func TestCollectorLatency(t *testing.T) {
	s := aio.Stats{Latency: aio.Latency{Count: 4, Sum: 3_000_000_000, Buckets: []aio.LatencyBucket{
		{Below: 1_000_000, Count: 1},
		{Below: 2_000_000, Count: 2},
	}}}
	want := `
		# HELP aio_request_duration_seconds Time that requests of kernel AIO were in the kernel, while aio.RecordLatency is on.
		# TYPE aio_request_duration_seconds histogram
		aio_request_duration_seconds_bucket{le="0.001"} 1
		aio_request_duration_seconds_bucket{le="0.002"} 3
		aio_request_duration_seconds_bucket{le="+Inf"} 4
		aio_request_duration_seconds_sum 3
		aio_request_duration_seconds_count 4
	`
	c := aioprometheus.CollectorOf(func() aio.Stats { return s })
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "aio_request_duration_seconds"); err != nil {
		t.Error(err)
	}
}

func TestCollectorUnavailable(t *testing.T) {
	for why, value := range map[string]int{"": 0, "io_setup: resource temporarily unavailable": 1} {
		want := fmt.Sprintf(`
			# HELP aio_kernel_unavailable 1 if the process has no kernel AIO; aio.Stats.Unavailable says why.
			# TYPE aio_kernel_unavailable gauge
			aio_kernel_unavailable %d
		`, value)
		c := aioprometheus.CollectorOf(func() aio.Stats { return aio.Stats{Unavailable: why} })
		if err := testutil.CollectAndCompare(c, strings.NewReader(want), "aio_kernel_unavailable"); err != nil {
			t.Error(err)
		}
	}
}

// TestCollectorIsComplete checks that every number of aio.Stats is in some metric.
func TestCollectorIsComplete(t *testing.T) {
	var all aio.Stats
	fields := aioprometheus.Fill(&all)
	c := aioprometheus.CollectorOf(func() aio.Stats { return all })
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[float64]bool)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			seen[m.GetCounter().GetValue()+m.GetGauge().GetValue()] = true
		}
	}
	for name, value := range fields {
		if !seen[value] {
			t.Errorf("no metric has aio.Stats.%s", name)
		}
	}
}

func ExampleNewCollector() {
	r := prometheus.NewRegistry()
	r.MustRegister(aioprometheus.NewCollector())
	families, err := r.Gather()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(families[0].GetName())
	// Output: aio_batched_requests_total
}
