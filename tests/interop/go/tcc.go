package main

import (
	"net/url"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// runTcc tries a debit and a credit; "answer" is that of the credit's try, "confirm" that of the debit's confirm.
func runTcc(b *bank, gid string, q url.Values) (string, error) {
	return "", tcc(b, gid, q, b.url+"/credit"+query(q, "answer"))
}

// runTccNested has a participant of the second branch try a branch of its own, below it.
func runTccNested(b *bank, gid string, q url.Values) (string, error) {
	return "", tcc(b, gid, q, b.url+"/nested"+query(q, "answer"))
}

func tcc(b *bank, gid string, q url.Values, second string) error {
	custom := func(t *dtmcli.Tcc) { options(&t.TransBase, q) }
	return dtmcli.TccGlobalTransaction2(b.dtm, gid, custom, func(t *dtmcli.Tcc) (*resty.Response, error) {
		response, err := t.CallBranch(money{30}, b.url+"/debit", b.url+"/debit-confirm"+rename(q, "confirm"), b.url+"/debit-cancel")
		if err != nil {
			return response, err
		}
		if q.Get("answer") == "panic" {
			panic("the client has lost its mind")
		}
		return t.CallBranch(money{30}, second, b.url+"/credit-confirm", b.url+"/credit-cancel")
	})
}

func (b *bank) tryNested(q url.Values) error {
	t, err := dtmcli.TccFromQuery(q)
	if err != nil {
		return err
	}
	_, err = t.CallBranch(money{30}, b.url+"/deep", b.url+"/deep-confirm", b.url+"/deep-cancel")
	return err
}

// runTccGrpc is runTcc over gRPC on both sides.
func runTccGrpc(b *bank, gid string, q url.Values) (string, error) {
	custom := func(t *dtmgrpc.TccGrpc) { options(&t.TransBase, q) }
	bankOf := b.grpc + "/interop.Bank/"
	return "", dtmgrpc.TccGlobalTransaction2(b.dtmGrpc, gid, custom, func(t *dtmgrpc.TccGrpc) error {
		reply := &emptypb.Empty{}
		err := t.CallBranch(orderOf(url.Values{}), bankOf+"Debit", bankOf+"DebitConfirm", bankOf+"DebitBack", reply)
		if err != nil {
			return err
		}
		return t.CallBranch(orderOf(q), bankOf+"Credit", bankOf+"CreditConfirm", bankOf+"CreditBack", reply)
	})
}
