package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// store opens the store of a task. What is wrong with its description would be wrong again.
func (a Agent) store(s task.Store) (store.Store, error) {
	if s.Folder != nil {
		return a.volume(*s.Folder)
	}
	credentials := ""
	if s.Credentials {
		credentials = a.path(task.StoreCredentials)
	}
	var authority []byte
	if s.CA {
		var err error
		if authority, err = os.ReadFile(a.path(task.StoreCA, task.KeyCA)); err != nil {
			return nil, fmt.Errorf("the CA of the store: %w", err)
		}
	}
	var opened store.Store
	err := errors.New("the task names no store that this agent knows: its image and the operator are of different versions")
	switch {
	case s.S3 != nil:
		opened, err = store.NewS3(store.S3Options{
			Endpoint: s.S3.Endpoint, Region: s.S3.Region, Bucket: s.S3.Bucket, Prefix: s.S3.Prefix, PathStyle: s.S3.PathStyle,
			Encryption: s.S3.Encryption, KMSKey: s.S3.KMSKey, CredentialsFolder: credentials, CA: authority,
		})
	case s.GCS != nil:
		opened, err = store.NewGCS(store.GCSOptions{
			Endpoint: s.GCS.Endpoint, Bucket: s.GCS.Bucket, Prefix: s.GCS.Prefix, KMSKey: s.GCS.KMSKey, CredentialsFolder: credentials, CA: authority,
		})
	case s.Azure != nil:
		opened, err = store.NewAzure(store.AzureOptions{
			Endpoint: s.Azure.Endpoint, Account: s.Azure.Account, Container: s.Azure.Container, Prefix: s.Azure.Prefix,
			EncryptionScope: s.Azure.EncryptionScope, CredentialsFolder: credentials, CA: authority,
		})
	}
	if err != nil {
		return nil, &FinalError{Err: err}
	}
	return opened, nil
}

// volume opens a folder of the store's volume, and makes it if the volume is there.
func (a Agent) volume(folder string) (store.Store, error) {
	if _, err := store.NewVolume(a.path(task.Volume)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.path(task.Volume, folder), 0o750); err != nil {
		return nil, fmt.Errorf("the folder %q of the volume for backups: %w", folder, err)
	}
	opened, err := store.NewVolume(a.path(task.Volume, folder))
	if err != nil {
		return nil, err
	}
	return opened, nil
}
