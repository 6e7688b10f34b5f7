// The other side in the tests of the outgoing HTTP client: Go's net/http, on which DTM is built.
//
//	serve         answers over plain HTTP and over TLS; prints one line of JSON with both addresses and the certificate
//	call          reads requests from standard input, one JSON object a line, makes them, prints one line for each
//	proxy URL...  prints for each URL which proxy the environment asks for, or nothing
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
)

type request struct {
	Method  string
	URL     string
	Headers map[string]string
	Body    string
}

type result struct {
	Status int
	Body   string
	Error  string
}

func main() {
	switch os.Args[1] {
	case "serve":
		serve()
	case "call":
		call()
	case "proxy":
		proxy(os.Args[2:])
	}
}

func proxy(urls []string) {
	for _, each := range urls {
		parsed, err := url.Parse(each)
		if err != nil {
			panic(err)
		}
		found, err := http.ProxyFromEnvironment(&http.Request{URL: parsed})
		switch {
		case err != nil:
			fmt.Println("error:", err)
		case found == nil:
			fmt.Println()
		default:
			fmt.Println(found)
		}
	}
}

func call() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		answer, err := json.Marshal(send(asked))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(answer))
	}
}

func send(asked request) result {
	var body io.Reader
	if asked.Body != "" {
		body = bytes.NewReader([]byte(asked.Body))
	}
	out, err := http.NewRequest(asked.Method, asked.URL, body)
	if err != nil {
		return result{Error: err.Error()}
	}
	for name, value := range asked.Headers {
		out.Header.Set(name, value)
		if name == "Host" {
			out.Host = value
		}
	}
	response, err := http.DefaultClient.Do(out)
	if err != nil {
		return result{Error: err.Error()}
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return result{Error: err.Error()}
	}
	return result{Status: response.StatusCode, Body: string(read)}
}

func serve() {
	plain := httptest.NewServer(routes())
	secure := httptest.NewUnstartedServer(routes())
	secure.EnableHTTP2 = true
	secure.StartTLS()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	line, err := json.Marshal(map[string]string{"Plain": plain.URL, "Secure": secure.URL, "Certificate": string(certificate)})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
	// Whoever started us ends us by closing our standard input.
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		panic(err)
	}
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(out http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		out.Header().Set("Seen-Host", in.Host)
		out.Header().Set("Seen-Target", in.RequestURI)
		out.Header().Set("Seen-Method", in.Method)
		out.Header().Set("Seen-Protocol", in.Proto)
		out.Header().Set("Seen-From", in.RemoteAddr)
		out.Write(body)
	})
	mux.HandleFunc("/gzip", func(out http.ResponseWriter, in *http.Request) {
		if !strings.Contains(in.Header.Get("Accept-Encoding"), "gzip") {
			out.WriteHeader(http.StatusNotAcceptable)
			return
		}
		out.Header().Set("Content-Encoding", "gzip")
		packer := gzip.NewWriter(out)
		defer packer.Close()
		io.Copy(packer, in.Body)
	})
	mux.HandleFunc("/chunked", func(out http.ResponseWriter, in *http.Request) {
		out.Header().Set("Trailer", "Sum")
		out.WriteHeader(http.StatusEarlyHints)
		for _, piece := range []string{"one ", "two ", "three"} {
			io.WriteString(out, piece)
			out.(http.Flusher).Flush()
		}
		out.Header().Set("Sum", "11")
	})
	mux.HandleFunc("/status", func(out http.ResponseWriter, in *http.Request) {
		status, _ := strconv.Atoi(in.FormValue("is"))
		out.WriteHeader(status)
	})
	mux.HandleFunc("/close", func(out http.ResponseWriter, in *http.Request) {
		out.Header().Set("Connection", "close")
		io.WriteString(out, "bye")
	})
	mux.HandleFunc("/old", func(out http.ResponseWriter, in *http.Request) {
		connection, _, err := out.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(connection, "HTTP/1.0 200 OK\n\nold and without length")
		connection.Close()
	})
	mux.HandleFunc("/abort", func(out http.ResponseWriter, in *http.Request) {
		io.WriteString(out, "half of ")
		out.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/refuse", func(out http.ResponseWriter, in *http.Request) {
		http.Error(out, "too large", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/big", func(out http.ResponseWriter, in *http.Request) {
		size, _ := strconv.Atoi(in.FormValue("size"))
		out.Write(bytes.Repeat([]byte("x"), size))
	})
	return mux
}
