package images

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestArchiveIsReproducibleAndNamed(t *testing.T) {
	directory := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "example/thing:v1", Entrypoint: []string{"/usr/local/bin/thing"}, User: "65532:65532", Binaries: map[string]string{"/usr/local/bin/thing": program}}
	var written [][]byte
	for _, name := range []string{"a.tar", "b.tar"} {
		if err := Write(spec, filepath.Join(directory, name)); err != nil {
			t.Skipf("the test program is not static here: %v", err)
		}
		content, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, content)
	}
	if !bytes.Equal(written[0], written[1]) {
		t.Error("the same image gives different archives")
	}
	contents, err := Contents(filepath.Join(directory, "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if digest := contents["docker.io/example/thing:v1"]; len(contents) != 1 || len(digest) != len("sha256:")+64 {
		t.Errorf("the archive holds %v; want docker.io/example/thing:v1 with a digest", contents)
	}
}

func TestFullName(t *testing.T) {
	for name, want := range map[string]string{
		"busybox":               "docker.io/library/busybox:latest",
		"team/app:dev":          "docker.io/team/app:dev",
		"gcr.io/team/app:v1":    "gcr.io/team/app:v1",
		"localhost/app":         "localhost/app:latest",
		"registry:5000/app":     "registry:5000/app:latest",
		"quay.io/a/b@sha256:ab": "quay.io/a/b@sha256:ab",
	} {
		if got := FullName(name); got != want {
			t.Errorf("FullName(%q) = %q, want %q", name, got, want)
		}
	}
}
