package images

import (
	"archive/tar"
	"bytes"
	"maps"
	"path"
	"slices"
)

// layer collects files, with the folders that they need.
type layer struct {
	files   map[string]entry
	folders map[string]int64
}

type entry struct {
	mode    int64
	content []byte
}

func newLayer() *layer { return &layer{files: map[string]entry{}, folders: map[string]int64{}} }

func (l *layer) folder(name string, mode int64) {
	l.folders[name] = mode
	l.parents(name)
}

func (l *layer) file(name string, mode int64, content []byte) {
	l.files[name] = entry{mode, content}
	l.parents(name)
}

func (l *layer) parents(name string) {
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		if _, known := l.folders[parent]; !known {
			l.folders[parent] = 0o755
		}
	}
}

// tar writes folders first, each list in order, so that the same content gives the same bytes.
func (l *layer) tar() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, name := range sortedKeys(l.folders) {
		if err := writeEntry(archive, &tar.Header{Name: name + "/", Mode: l.folders[name], Typeflag: tar.TypeDir}, nil); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(l.files) {
		file := l.files[name]
		if err := writeEntry(archive, fileHeader(name, file.mode, file.content), file.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func sortedKeys[V any](values map[string]V) []string { return slices.Sorted(maps.Keys(values)) }
