// Package images makes image archives from static programs, and reads what archives hold.
package images

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec says what an image holds and how it starts.
type Spec struct {
	// Name is the reference that pods use, such as gcr.io/etcd-development/etcd:v3.6.16.
	Name string
	// Entrypoint and Command start the container.
	Entrypoint, Command []string
	// User is UID or UID:GID; empty means root.
	User string
	// Binaries maps paths in the image to files of this machine.
	Binaries map[string]string
}

// certificateBundle is copied into images when this machine has it.
const certificateBundle = "etc/ssl/certs/ca-certificates.crt"

// Write makes the archive. It is both an OCI layout and a `docker save` archive, so every tool loads it, and
// the same content always gives the same bytes.
func Write(spec Spec, output string) error {
	image, err := build(spec)
	if err != nil {
		return fmt.Errorf("making image %s: %w", spec.Name, err)
	}
	// A reader never sees half an archive: it is renamed into place once it is whole.
	file, err := os.CreateTemp(filepath.Dir(output), ".image-*")
	if err != nil {
		return fmt.Errorf("making a file beside %q: %w", output, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	err = writeArchive(file, spec.Name, image)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(file.Name(), output)
	}
	if err != nil {
		return fmt.Errorf("writing the archive %q of image %s: %w", output, spec.Name, err)
	}
	return nil
}

func build(spec Spec) (v1.Image, error) {
	content, err := layerContent(spec.Binaries)
	if err != nil {
		return nil, err
	}
	// Without compression: the archive stays on this machine, and both making and unpacking it are quicker.
	layer := static.NewLayer(content, types.OCIUncompressedLayer)
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: spec.Entrypoint, Cmd: spec.Command, User: spec.User, WorkingDir: "/",
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/" + certificateBundle,
		},
	}
	return mutate.ConfigFile(image, config)
}

// layerContent is a tar of the programs and the few files that a distroless base has.
func layerContent(binaries map[string]string) ([]byte, error) {
	layer := newLayer()
	layer.file("etc/passwd", 0o644, []byte(`root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
`))
	layer.file("etc/group", 0o644, []byte("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"))
	layer.folder("tmp", 0o1777)
	if bundle, err := os.ReadFile("/" + certificateBundle); err == nil {
		layer.file(certificateBundle, 0o644, bundle)
	}
	for destination, source := range binaries {
		program, err := os.ReadFile(source)
		if err != nil {
			return nil, fmt.Errorf("reading program %q: %w (is it built?)", source, err)
		}
		if err := checkStatic(source, program); err != nil {
			return nil, err
		}
		layer.file(strings.TrimPrefix(path.Clean("/"+destination), "/"), 0o755, program)
	}
	return layer.tar()
}

// checkStatic refuses programs that need a loader, which the image does not have: they would fail to start
// with a message that names the program itself as missing.
func checkStatic(source string, program []byte) error {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("reading %q as a Linux program: %w", source, err)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("program %q is not static: build it with CGO_ENABLED=0", source)
		}
	}
	return nil
}

// index is the part of an OCI index that names the image of an archive.
type index struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	Manifests     []v1.Descriptor `json:"manifests"`
}

// dockerEntry is one image in the manifest.json of `docker save`.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func writeArchive(output io.Writer, name string, image v1.Image) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	configName, err := image.ConfigName()
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(output)
	entry := dockerEntry{Config: blobPath(configName), RepoTags: []string{name}}
	blobs := map[string][]byte{blobPath(digest): manifest, blobPath(configName): config}
	for _, layer := range layers {
		layerDigest, content, err := readLayer(layer)
		if err != nil {
			return err
		}
		entry.Layers = append(entry.Layers, blobPath(layerDigest))
		blobs[blobPath(layerDigest)] = content
	}
	blobs["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if blobs["index.json"], err = json.Marshal(index{2, types.OCIImageIndex, []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Digest: digest, Size: int64(len(manifest)),
		Annotations: map[string]string{
			"io.containerd.image.name": FullName(name), "org.opencontainers.image.ref.name": tag(name),
		},
	}}}); err != nil {
		return err
	}
	if blobs["manifest.json"], err = json.Marshal([]dockerEntry{entry}); err != nil {
		return err
	}
	for _, file := range sortedKeys(blobs) {
		if err := writeEntry(archive, fileHeader(file, 0o644, blobs[file]), blobs[file]); err != nil {
			return err
		}
	}
	return archive.Close()
}

func readLayer(layer v1.Layer) (v1.Hash, []byte, error) {
	digest, err := layer.Digest()
	if err != nil {
		return v1.Hash{}, nil, err
	}
	reader, err := layer.Compressed()
	if err != nil {
		return v1.Hash{}, nil, err
	}
	defer func() { _ = reader.Close() }()
	content, err := io.ReadAll(reader)
	return digest, content, err
}

func blobPath(digest v1.Hash) string { return path.Join("blobs", digest.Algorithm, digest.Hex) }

func fileHeader(name string, mode int64, content []byte) *tar.Header {
	return &tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeReg, Size: int64(len(content))}
}

func writeEntry(archive *tar.Writer, header *tar.Header, content []byte) error {
	// One fixed moment for all files makes the archive reproducible.
	header.ModTime, header.Format = time.Unix(0, 0), tar.FormatUSTAR
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
