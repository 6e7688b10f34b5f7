package main

import (
	"net/url"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmgrpc"
)

type money struct {
	Amount int `json:"amount"`
}

// runSaga debits and credits, one after the other; "answer" is the credit's, "back" that of taking the debit back.
func runSaga(b *bank, gid string, q url.Values) (string, error) {
	saga := dtmcli.NewSaga(b.dtm, gid).
		Add(b.url+"/debit", b.url+"/debit-back"+rename(q, "back"), money{30}).
		Add(b.url+"/credit"+query(q, "answer"), b.url+"/credit-back", money{30})
	options(&saga.TransBase, q)
	return "", saga.Submit()
}

// runSagaConcurrent makes four steps in parallel, but for the last, which waits for the first two.
func runSagaConcurrent(b *bank, gid string, q url.Values) (string, error) {
	saga := dtmcli.NewSaga(b.dtm, gid).SetConcurrent()
	for _, name := range []string{"/a", "/b", "/c"} {
		saga.Add(b.url+name, b.url+name+"-back", money{1})
	}
	saga.Add(b.url+"/d"+query(q, "answer"), b.url+"/d-back", money{1}).AddBranchOrder(3, []int{0, 1})
	options(&saga.TransBase, q)
	return "", saga.Submit()
}

// runSagaGrpc is runSaga over gRPC on both sides.
func runSagaGrpc(b *bank, gid string, q url.Values) (string, error) {
	saga := dtmgrpc.NewSagaGrpc(b.dtmGrpc, gid).
		Add(b.grpc+"/interop.Bank/Debit", b.grpc+"/interop.Bank/DebitBack", orderOf(url.Values{})).
		Add(b.grpc+"/interop.Bank/Credit", b.grpc+"/interop.Bank/CreditBack", orderOf(q))
	options(&saga.TransBase, q)
	return "", saga.Submit()
}

// rename is query for a word that the test calls otherwise than the participant.
func rename(q url.Values, name string) string {
	return query(url.Values{"answer": q[name]}, "answer")
}
