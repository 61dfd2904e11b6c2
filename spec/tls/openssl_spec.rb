# frozen_string_literal: true

require "spec_helper"

# What `openssl s_client`, a client that is independent of these specs, says of a connection.
RSpec.describe "With openssl s_client" do
  authority = CertificateAuthority.default
  localhost = CertificateAuthority.localhost
  named = authority.issue("b.example", names: %w[DNS:b.example DNS:*.b.example])
  rsa = authority.issue("rsa", names: %w[DNS:rsa.example], key: OpenSSL::PKey::RSA.new(2048))
  late = authority.issue("late", names: %w[DNS:late.example], from: Time.now - 7200, to: Time.now - 3600)
  ann = authority.issue("ann")
  expired = authority.issue("expired", from: Time.now - 7200, to: Time.now - 3600)
  foreign = CertificateAuthority.new("Another CA").issue("mallory")
  request = "GET / HTTP/1.0\r\nhost: localhost\r\n\r\n"
  config = <<~'CONFIG'
    require "spec_app"

    run ->(env) { [200, {}, ["#{env["SSL_CLIENT_VERIFY"]} #{env["SSL_CLIENT_S_DN"]} hello"]] }
  CONFIG

  # Runs s_client and gives it each of the texts once it has printed what is before it in the Hash; a text is sent at once whose
  # key is "". Returns all that it has printed.
  def s_client(*options, say: { "" => "" }, port: app.port)
    command = ["openssl", "s_client", "-connect", "127.0.0.1:#{port}", "-CAfile", CertificateAuthority.default.cert, *options]
    deadline = Deadline.in(Deadline::PATIENCE)
    output = String.new
    IO.popen(command, "r+b", err: %i[child out]) do |client|
      say.each do |awaited, text|
        output << printed(client, deadline) until output.include?(awaited)
        client.write(text)
      end
      client.close_write if say.values.last.empty?
      loop { output << printed(client, deadline) }
    rescue EOFError, Errno::EPIPE
      output
    ensure
      Process.kill("KILL", client.pid) if $! && !$!.is_a?(EOFError)
    end
    output
  end

  def printed(client, deadline)
    client.wait_readable(deadline.remaining) or deadline.check!("openssl")
    client.readpartial(65_536).scrub
  end

  # Prints of a handshake after which nothing is sent.
  def expect_printed(options, *patterns)
    output = s_client(*options)
    patterns.each { |pattern| expect(output).to match(pattern) }
  end

  context "and several certificates" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{[localhost, named, rsa, late].map(&:query).join("&")}", via: :configured)

    {
      "TLS 1.3" => [%w[-tls1_3], /New, TLSv1\.3/, /Verification: OK/],
      "TLS 1.2" => [%w[-tls1_2], /New, TLSv1\.2/, /Verification: OK/, /Secure Renegotiation IS supported/],
      "TLS 1.3 where both are possible" => [[], /New, TLSv1\.3/],
      "no TLS 1.1" => [%w[-tls1_1 -cipher ALL:@SECLEVEL=0], /New, \(NONE\)/, /alert (protocol version|handshake failure)/],
      "no TLS 1.0" => [%w[-tls1 -cipher ALL:@SECLEVEL=0], /New, \(NONE\)/, /alert (protocol version|handshake failure)/],
      "TLS_AES_128_GCM_SHA256" => [%w[-ciphersuites TLS_AES_128_GCM_SHA256], /Cipher is TLS_AES_128_GCM_SHA256/],
      "TLS_AES_256_GCM_SHA384" => [%w[-ciphersuites TLS_AES_256_GCM_SHA384], /Cipher is TLS_AES_256_GCM_SHA384/],
      "TLS_CHACHA20_POLY1305_SHA256" =>
        [%w[-ciphersuites TLS_CHACHA20_POLY1305_SHA256], /Cipher is TLS_CHACHA20_POLY1305_SHA256/],
      "no TLS_AES_128_CCM_SHA256" => [%w[-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256], /New, \(NONE\)/, /handshake failure/],
      "ECDHE-ECDSA-AES128-GCM-SHA256" =>
        [%w[-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256], /Cipher is ECDHE-ECDSA-AES128-GCM-SHA256/],
      "ECDHE-RSA-CHACHA20-POLY1305, where the certificate is for RSA" =>
        [%w[-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305 -servername rsa.example], /Cipher is ECDHE-RSA-CHACHA20-POLY1305/],
      "no AES256-SHA, which has no forward secrecy" =>
        [%w[-tls1_2 -cipher AES256-SHA -servername rsa.example], /New, \(NONE\)/, /handshake failure/],
      "no ECDHE-ECDSA-AES256-SHA384, which has CBC" =>
        [%w[-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384], /New, \(NONE\)/, /handshake failure/],
      "X25519" => [%w[-groups X25519], /Server Temp Key: X25519/],
      "P-256" => [%w[-groups P-256], /Server Temp Key: ECDH, prime256v1/],
      "P-384, after one more question of the server" => [%w[-groups P-521:P-384], /Server Temp Key: ECDH, secp384r1/],
      "no P-521" => [%w[-groups P-521], /New, \(NONE\)/, /handshake failure/],
      "the certificate of the name" => [%w[-servername b.example], /subject=.*CN = b\.example/],
      "the certificate of a wildcard" => [%w[-servername www.b.example], /subject=.*CN = b\.example/],
      "the first certificate for another name" => [%w[-servername c.example], /subject=.*CN = localhost/],
      "the first certificate without a name" => [%w[-noservername], /subject=.*CN = localhost/],
      "a certificate that has expired, if nobody replaces it" =>
        [%w[-servername late.example], /subject=.*CN = late/, /Verify return code: 10 \(certificate has expired\)/],
      "http/1.1, chosen by ALPN" => [%w[-alpn spdy/3,http/1.1], /ALPN protocol: http\/1\.1/],
      "no protocol without ALPN" => [[], /No ALPN negotiated/],
      "nothing if no protocol is known" => [%w[-alpn spdy/3], /alert no application protocol/],
      "no stapled status" => [%w[-status], /OCSP response: no response sent/],
      "no request for a certificate" => [[], /No client certificate CA names sent/],
      "no compression, and no early data" => [%w[-tls1_3 -comp], /Compression: NONE/, /Early data was not sent/],
      "an extended master secret" => [%w[-tls1_2], /Extended master secret: yes/]
    }.each do |what, (options, *patterns)|
      it("agrees on #{what}") { expect_printed(options, *patterns) }
    end

    { "1.2" => "-tls1_2", "1.3" => "-tls1_3" }.each do |version, option|
      it "resumes a session of TLS #{version}, and offers no early data" do
        Dir.mktmpdir do |folder|
          first = s_client(option, "-ign_eof", "-sess_out", "#{folder}/session", say: { "" => request })
          expect(first).to include("New, TLSv#{version}", " hello")
          expect(first).to include("Max Early Data: 0") if version == "1.3"
          again = s_client(option, "-ign_eof", "-sess_in", "#{folder}/session", say: { "" => request })
          expect(again).to include("Reused, TLSv#{version}", " hello")
        end
      end

      it "answers with TLS #{version} a client that takes no tickets" do
        output = s_client(option, "-no_ticket", "-ign_eof", say: { "" => request })
        expect(output).to include("New, TLSv#{version}", " hello", "closed")
      end

      it "says in TLS #{version} that nothing follows" do
        output = s_client(option, "-ign_eof", "-msg", say: { "" => request })
        expect(output).to match(/<<< TLS #{version}, Alert.*warning close_notify/)
        expect(output).not_to include("unexpected eof")
      end

      it "takes records of any size in TLS #{version}" do
        [%w[-split_send_frag 512], %w[-max_send_frag 512]].each do |options|
          output = s_client(option, *options, "-ign_eof", say: { "" => request.sub("\r\n\r\n", "\r\nx-long: #{"x" * 5000}\r\n\r\n") })
          expect(output).to include(" hello")
        end
      end
    end

    it "goes on after new keys, which client and server ask for in TLS 1.3" do
      output = s_client("-tls1_3", say: { "Verify return code" => "K\n", "KEYUPDATE" => request })
      expect(output).to include(" hello")
    end

    it "does not begin a new handshake on a connection of TLS 1.2" do
      output = s_client("-tls1_2", say: { "Verify return code" => "R\n" })
      expect(output).to match(/RENEGOTIATING\n.*(no renegotiation|unexpected message)/m)
      again = s_client("-tls1_2", say: { "Verify return code" => "R\n" * 50 })
      expect(again).to match(/no renegotiation|unexpected message/)
      expect(get("/").status).to eq(200)
    end
  end

  context "and verify_mode=force_peer" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}&ca=#{authority.cert}&verify_mode=force_peer", via: :configured)

    { "1.2" => "-tls1_2", "1.3" => "-tls1_3" }.each do |version, option|
      it "names the issuers, and takes a certificate of theirs, in TLS #{version}" do
        output = s_client(option, "-ign_eof", "-cert", ann.cert, "-key", ann.key, say: { "" => request })
        expect(output).to match(/Acceptable client certificate CA names\nCN = Spec CA/)
        expect(output).to include("SUCCESS CN=ann,O=Specs hello")
      end

      {
        "no certificate" => [nil, /alert (certificate required|handshake failure)/],
        "an expired certificate" => [expired, /alert certificate expired/],
        "a certificate of others" => [foreign, /alert (unknown ca|bad certificate|decrypt error)/]
      }.each do |what, (certificate, reason)|
        it "refuses #{what} in TLS #{version}" do
          shown = certificate ? ["-cert", certificate.cert, "-key", certificate.key] : []
          output = s_client(option, "-ign_eof", *shown, say: { "" => request })
          expect(output).to match(reason)
          expect(output).not_to include(" hello")
        end
      end
    end

    it "sees no session resumed without the certificate that began it, unless the server knows it from the ticket" do
      Dir.mktmpdir do |folder|
        s_client("-ign_eof", "-cert", ann.cert, "-key", ann.key, "-sess_out", "#{folder}/session", say: { "" => request })
        output = s_client("-ign_eof", "-sess_in", "#{folder}/session", say: { "" => request })
        expect(output).to include("Reused", "SUCCESS CN=ann,O=Specs hello")
      end
    end
  end
end
