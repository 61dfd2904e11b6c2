# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/certificate_authority"
require "tmpdir"

RSpec.describe PushServer::Certificates do
  let(:authority) { CertificateAuthority.default }
  let(:issued) { CertificateAuthority.localhost }
  let(:other) { authority.issue("other.example") }
  let(:folder) { Dir.mktmpdir }
  let(:cert) { File.join(folder, "cert.pem") }
  let(:key) { File.join(folder, "key.pem") }
  let(:certificates) { described_class.new([[cert, key]]) }

  before { use(issued) }
  after { FileUtils.rm_rf(folder) }

  # Puts a certificate in place, as a rename does.
  def use(issued, *kinds)
    kinds = %i[cert key] if kinds.empty?
    kinds.each do |kind|
      FileUtils.cp(issued[kind], File.join(folder, "new"))
      File.rename(File.join(folder, "new"), public_send(kind))
    end
  end

  def certificate = certificates.content[:certificates][0][0][1]

  it "has what the native server takes" do
    expect(certificates.load.content).to eq(
      certificates: [[[cert, File.binread(cert)], [key, File.binread(key)]]], ca: nil, verify_mode: "none"
    )
  end

  describe "refuses, in one line that names the file," do
    # Of files that have not changed for a while.
    def expect_refusal(reason)
      File.utime(0, 0, *[cert, key].select { |path| File.exist?(path) })
      expect { certificates.load }.to raise_error(PushServer::Error) { |error|
        expect(error.message).to match(reason)
        expect(error.message.lines.size).to eq(1)
      }
    end

    def export(*all) = all.map { |one| one.certificate.to_pem }.join

    it("a file that is not there") { File.unlink(key) and expect_refusal(/\Acannot read .*key\.pem: No such file or directory\z/) }
    it("a folder") { FileUtils.rm(key) && Dir.mkdir(key) && expect_refusal(/\Acannot read .*key\.pem: Is a directory\z/) }
    it("a key of another certificate") { use(other, :key) and expect_refusal(/key in .*key\.pem does not belong to .*cert\.pem/) }
    it("a key in place of a certificate") { FileUtils.cp(key, cert) || expect_refusal(/cert\.pem has no certificate/) }
    it("a certificate in place of a key") { FileUtils.cp(cert, key) || expect_refusal(/key\.pem has no private key/) }
    it("an empty key") { File.write(key, "") and expect_refusal(/key\.pem has no private key/) }
    it("a public key") { File.write(key, issued.private_key.public_to_pem) and expect_refusal(/key\.pem has no private key/) }
    it("DER in place of PEM") { File.binwrite(cert, issued.certificate.to_der) and expect_refusal(/cert\.pem .*looks like DER/) }
    it("a key in DER") { File.binwrite(key, OpenSSL::PKey::RSA.new(2048).to_der) and expect_refusal(/key\.pem .*looks like DER/) }
    it("a key that is cut off") { File.write(key, File.read(key)[0, 100]) and expect_refusal(/key\.pem/) }
    it("a certificate that is cut off") { File.write(cert, File.read(cert)[0, 300]) and expect_refusal(/cert\.pem/) }

    {
      "a key of RSA that is too short" => -> { OpenSSL::PKey::RSA.new(1024) },
      "a key of another curve" => -> { OpenSSL::PKey::EC.generate("secp521r1") },
      "a key of another kind" => -> { OpenSSL::PKey.generate_key("ED448") }
    }.each do |what, make|
      it what do
        use(authority.issue("other.example", key: make.call))
        expect_refusal(/key in .*key\.pem cannot be used: it must be RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, or Ed25519/)
      end
    end

    it "PKCS #12" do
      File.binwrite(cert, OpenSSL::PKCS12.create("", "name", issued.private_key, issued.certificate).to_der)
      expect_refusal(/cert\.pem is no PEM file, but looks like DER or PKCS#12: convert it with openssl/)
    end

    it "a chain that begins with an issuer" do
      File.write(cert, export(authority, issued))
      expect_refusal(/that the key in .*key\.pem belongs to is number 2 in .*cert\.pem: it must be the first one/)
    end

    it "a certificate of version 1" do
      certificate = issued.certificate.dup
      certificate.version = 0
      certificate.extensions = []
      File.write(cert, certificate.sign(issued.private_key, OpenSSL::Digest.new("SHA256")).to_pem)
      expect_refusal(/cert\.pem is not of version 3 .*: issue one that has a subjectAltName/)
    end

    it "a file that it may not read" do
      skip "root may read all files" if Process.uid.zero?

      File.chmod(0, key)
      expect_refusal(/cannot read .*key\.pem: Permission denied/)
    end

    it("an empty file") { File.write(cert, "") and expect_refusal(/cert\.pem has no certificate/) }
    it("what is not PEM") { File.write(cert, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n") and expect_refusal(/cert\.pem/) }

    %i[private_to_pem to_pem].each do |form|
      it "an encrypted key (#{form})" do
        File.write(key, issued.private_key.public_send(form, OpenSSL::Cipher.new("aes-256-cbc"), "password"))
        expect_refusal(/key in .*key\.pem is encrypted/)
      end
    end

    it "verify_mode without ca, ca without verify_mode, and a ca that is none" do
      { { verify_mode: "peer" } => /verify_mode needs ca/, { authority: cert } => /ca needs verify_mode/,
        { authority: key, verify_mode: "peer" } => /key\.pem has no certificate/ }.each do |options, reason|
        expect { described_class.new([[cert, key]], **options).load }.to raise_error(PushServer::Error, reason)
      end
    end
  end

  {
    "with the lines of Windows" => ->(text) { text.gsub("\n", "\r\n") },
    "with text in front, as openssl x509 -text prints it" => ->(text) { "Certificate:\n    Data:\n#{text}" },
    "without the last line end" => :chomp.to_proc
  }.each do |how, change|
    it "takes files #{how}" do
      [cert, key].each { |path| File.write(path, change.call(File.read(path))) }
      expect(certificates.load.content).not_to be_nil
    end
  end

  it "takes a certificate and its key from one file, and parameters in front of a key" do
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    File.write(cert, [issued.cert, issued.key].map { |path| File.read(path) }.join(parameters))
    expect(described_class.new([[cert, cert]]).load.content).not_to be_nil
  end

  describe "when files change" do
    before { certificates.load }

    it "are read again" do
      expect(certificates.renew).to be(false)
      use(other)
      expect(certificates.renew).to be(true)
      expect(certificate).to eq(File.binread(other.cert))
      expect(certificates.renew).to be(false)
    end

    it "are read once they belong together, if they have just changed" do
      use(other, :cert)
      fresh = described_class.new([[cert, key]])
      allow(fresh).to receive(:sleep) { use(other, :key) }
      expect(fresh.load.content[:certificates][0][1][1]).to eq(File.binread(other.key))
      expect(fresh).to have_received(:sleep).once
    end

    it "are given up if they never belong together" do
      use(other, :cert)
      fresh = described_class.new([[cert, key]])
      allow(fresh).to receive(:sleep) { FileUtils.touch(cert) }
      expect { fresh.load }.to raise_error(PushServer::Error, /does not belong/)
    end

    it "may have a certificate without its key for a moment" do
      use(other, :cert)
      expect(certificates.renew).to be(false)
      use(other, :key)
      expect(certificates.renew).to be(true)
    end

    it "may not be there for a moment" do
      File.unlink(cert)
      expect(certificates.renew).to be(false)
      use(issued)
      expect(certificates.renew).to be(true)
    end

    it "raise one error if they cannot be used, and keep what was read before" do
      use(other, :cert)
      expect(certificates.renew).to be(false)
      expect { certificates.renew }.to raise_error(PushServer::Error, /does not belong/)
      expect(certificates.renew).to be(false)
      expect(certificate).to eq(File.binread(issued.cert))
      use(issued)
      expect(certificates.renew).to be(true)
    end

    it "raise the error at once if somebody asks, and not again" do
      use(other, :cert)
      expect { certificates.renew! }.to raise_error(PushServer::Error, /does not belong/)
      expect(Array.new(3) { certificates.renew }).to eq([false] * 3)
      expect(certificate).to eq(File.binread(issued.cert))
    end
  end

  describe PushServer::SelfSigned do
    def self_signed(host = "localhost") = described_class.new(host, env: { "XDG_CACHE_HOME" => folder })

    def parsed(certificates) = OpenSSL::X509::Certificate.new(certificates.content[:certificates][0][0][1])

    before { allow(PushServer).to receive(:log) }

    it "is for this machine, and made once" do
      first = self_signed.load
      alternatives = parsed(first).extensions.find { |extension| extension.oid == "subjectAltName" }.value
      expect(alternatives).to include("DNS:localhost", "DNS:*.localhost", "IP Address:127.0.0.1", Socket.gethostname)
      expect(PushServer).to have_received(:log).with(:info, /self-signed certificate .*\.crt is for localhost/)
      expect(self_signed.load.content).to eq(first.content)
      expect(Dir[File.join(folder, "push_server/*.key")].map { |path| File.stat(path).mode & 0o777 }).to eq([0o600])
    end

    it "is for the host, unless that stands for all addresses" do
      expect(self_signed("dev.example").names).to include("dev.example")
      expect(self_signed("*").names).not_to include("*")
    end

    it "is made anew if it cannot be used" do
      first = self_signed.load
      path = Dir[File.join(folder, "push_server/*.crt")].first
      File.write(path, "broken")
      expect(parsed(self_signed.load).serial).not_to eq(parsed(first).serial)
    end
  end
end
