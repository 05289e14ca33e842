package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// body is so many bytes that the seed decides.
type body struct {
	seed   int
	at     int64
	length int64
}

func (b *body) Read(into []byte) (int, error) {
	if b.at == b.length {
		return 0, io.EOF
	}
	into = into[:min(int64(len(into)), b.length-b.at)]
	for n := range into {
		into[n] = byte(((b.at+int64(n))*31 + int64(b.seed)) % 251)
	}
	b.at += int64(len(into))
	return len(into), nil
}

// digestOf reads to the end; gives how much it was, and its SHA-256.
func digestOf(from io.Reader) (int64, string, error) {
	hash := sha256.New()
	length, err := io.Copy(hash, from)
	return length, hex.EncodeToString(hash.Sum(nil)), err
}

// handler serves /body?seed=SEED&length=LENGTH, and tells at /digest what was posted there.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/body", func(answer http.ResponseWriter, request *http.Request) {
		seed, err := strconv.Atoi(request.FormValue("seed"))
		length, other := strconv.ParseInt(request.FormValue("length"), 10, 64)
		if err != nil || other != nil || length < 0 {
			http.Error(answer, "seed and length are numbers", http.StatusBadRequest)
			return
		}
		answer.Header().Set("Content-Length", strconv.FormatInt(length, 10))
		// A client that leaves is for it to tell.
		_, _ = io.Copy(answer, &body{seed: seed, length: length})
	})
	mux.HandleFunc("/digest", func(answer http.ResponseWriter, request *http.Request) {
		length, digest, err := digestOf(request.Body)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(answer, "%d %s", length, digest)
	})
	return mux
}

// request sends or fetches a body, and checks it.
type request func(client *http.Client, server string, seed int, length int64) error

func get(client *http.Client, server string, seed int, length int64) error {
	answer, err := client.Get(fmt.Sprintf("%s/body?seed=%d&length=%d", server, seed, length))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, theirs, err := digestOf(answer.Body)
	if err != nil {
		return err
	}
	_, ours, err := digestOf(&body{seed: seed, length: length})
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 3 || got != length || theirs != ours {
		return fmt.Errorf("%s %s: %d bytes became %d, or others", answer.Proto, answer.Status, length, got)
	}
	return nil
}

func post(client *http.Client, server string, seed int, length int64) error {
	sent := &body{seed: seed, length: length}
	answer, err := client.Post(server+"/digest", "application/octet-stream", sent)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	_, ours, err := digestOf(&body{seed: seed, length: length})
	if err != nil {
		return err
	}
	wanted := fmt.Sprintf("%d %s", length, ours)
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 3 || string(said) != wanted {
		return fmt.Errorf("%s %s: %q instead of %q", answer.Proto, answer.Status, said, wanted)
	}
	return nil
}
