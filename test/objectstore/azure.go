package objectstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

const (
	// AzureAccount is the only account of the Azure server, whose name its URLs have as a path, and AzureKey is its key.
	AzureAccount = "tests"
	AzureKey     = "b2YgYmFja3Vwcw=="
)

// StartAzure starts azurite, Microsoft's emulator of Azure Blob Storage. It ends with the test; certificate and key are files,
// or empty for HTTP. With HTTPS it takes tokens as well, without looking at who signed them.
func StartAzure(t testing.TB, certificate, key string) *Gateway {
	t.Helper()
	binary := program(t, "azurite/node_modules/.bin/azurite-blob")
	address := loopback.FreeAddress(t)
	host, port, _ := net.SplitHostPort(address)
	arguments := []string{"--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--disableTelemetry", "--silent", "--skipApiVersionCheck"}
	g := &Gateway{URL: "http://" + address + "/" + AzureAccount}
	if certificate != "" {
		arguments = append(arguments, "--cert", certificate, "--key", key, "--oauth", "basic")
		g.URL = "https://" + address + "/" + AzureAccount
	}
	t.Setenv("AZURITE_ACCOUNTS", AzureAccount+":"+AzureKey)
	serve(t, address, binary, arguments...)
	create, err := http.NewRequest(http.MethodPut, g.URL+"/"+Bucket+"?restype=container&"+AzureSAS(t, "c"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	// The certificate is the test's own.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	answer, err := client.Do(create)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("the container %s could not be made: %s", Bucket, answer.Status)
	}
	return g
}

// AzureSAS is a signature by which its bearer has some permissions, e.g. "rwdlc", for the containers and blobs of the account.
// https://learn.microsoft.com/rest/api/storageservices/create-account-sas
func AzureSAS(t testing.TB, permissions string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	const version = "2022-11-02"
	end := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	code := hmac.New(sha256.New, key)
	_, _ = code.Write([]byte(strings.Join([]string{AzureAccount, permissions, "b", "co", "", end, "", "", version, "", ""}, "\n")))
	return url.Values{
		"sv": {version}, "ss": {"b"}, "srt": {"co"}, "sp": {permissions}, "se": {end}, "sig": {base64.StdEncoding.EncodeToString(code.Sum(nil))},
	}.Encode()
}
