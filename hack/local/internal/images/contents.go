package images

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maximumManifest bounds what is read of an archive's descriptions.
const maximumManifest = 4 << 20

// Contents returns the images of an archive: full name to the digest of the image's configuration, which is
// what identifies an image however it is packed.
func Contents(archive string) (map[string]string, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, fmt.Errorf("opening image archive: %w", err)
	}
	defer func() { _ = file.Close() }()
	entries, err := dockerEntries(tar.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("reading image archive %q: %w (it has to be an uncompressed tar as `docker save` or `local-cluster image` write it)", archive, err)
	}
	contents := map[string]string{}
	for _, entry := range entries {
		// Either blobs/sha256/HEX or HEX.json.
		digest := "sha256:" + strings.TrimSuffix(path.Base(entry.Config), ".json")
		for _, name := range entry.RepoTags {
			contents[FullName(name)] = digest
		}
	}
	if len(contents) == 0 {
		return nil, fmt.Errorf("image archive %q names no image: save it with its name and tag", archive)
	}
	return contents, nil
}

func dockerEntries(archive *tar.Reader) ([]dockerEntry, error) {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no manifest.json")
		}
		if err != nil {
			return nil, err
		}
		if header.Name != "manifest.json" {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(archive, maximumManifest))
		if err != nil {
			return nil, err
		}
		var entries []dockerEntry
		if err := json.Unmarshal(content, &entries); err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
		return entries, nil
	}
}

// ConfigDigest returns the digest of the configuration that an image manifest points to; empty for an index.
func ConfigDigest(manifest []byte) string {
	var parsed v1.Manifest
	if err := json.Unmarshal(manifest, &parsed); err != nil || parsed.Config.Digest.Hex == "" {
		return ""
	}
	return parsed.Config.Digest.String()
}

// FullName completes an image name the way container runtimes do.
func FullName(name string) string {
	first, _, nested := strings.Cut(name, "/")
	switch {
	case !nested:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		name = "docker.io/" + name
	}
	if !strings.Contains(path.Base(name), ":") && !strings.Contains(name, "@") {
		name += ":latest"
	}
	return name
}

func tag(name string) string {
	full := FullName(name)
	return full[strings.LastIndex(full, ":")+1:]
}
