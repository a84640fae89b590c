// Package bench measures the operator on a running Kubernetes, against a floor that is measured in the same run.
package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Figure is one line of a result file.
type Figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Floor *float64 `json:"floor,omitempty"`
	Ratio *float64 `json:"ratio,omitempty"`
}

// Against is a figure with its floor and their ratio.
func Against(name string, value, floor float64, unit string) Figure {
	ratio := value / floor
	return Figure{Name: name, Value: value, Unit: unit, Floor: &floor, Ratio: &ratio}
}

// WriteResults writes figures to build/results/NAME.json of the checkout.
func WriteResults(name string, figures []Figure) error {
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		if parent := filepath.Dir(folder); parent != folder {
			folder = parent
			continue
		}
		return fmt.Errorf("no go.mod above the working directory: run this in the checkout")
	}
	folder = filepath.Join(folder, "build", "results")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	data, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".json"), append(data, '\n'), 0o600)
}

// median of durations, in seconds.
func median(samples []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle].Seconds()
	}
	return (sorted[middle-1] + sorted[middle]).Seconds() / 2
}

// row writes samples for a table.
func row(samples []time.Duration) string {
	var parts []string
	for _, s := range samples {
		parts = append(parts, fmt.Sprintf("%.2f", s.Seconds()))
	}
	return strings.Join(parts, " ")
}
