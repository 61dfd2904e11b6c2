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
    def expect_refusal(reason)
      expect { certificates.load }.to raise_error(PushServer::Error) { |error|
        expect(error.message).to match(reason)
        expect(error.message.lines.size).to eq(1)
      }
    end

    it("a file that is not there") { File.unlink(key) and expect_refusal(/\Acannot read .*key\.pem: No such file or directory\z/) }
    it("a folder") { FileUtils.rm(key) && Dir.mkdir(key) && expect_refusal(/\Acannot read .*key\.pem: Is a directory\z/) }
    it("a key of another certificate") { use(other, :key) and expect_refusal(/key in .*key\.pem does not belong to .*cert\.pem/) }
    it("a key in place of a certificate") { FileUtils.cp(key, cert) || expect_refusal(/cert\.pem has no certificate/) }
    it("a certificate in place of a key") { FileUtils.cp(cert, key) || expect_refusal(/key\.pem has no private key/) }
    it("an empty file") { File.write(cert, "") and expect_refusal(/cert\.pem has no certificate/) }
    it("what is not PEM") { File.write(cert, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n") and expect_refusal(/cert\.pem/) }

    it "an encrypted key" do
      encrypted = OpenSSL::PKey.read(File.read(key)).private_to_pem(OpenSSL::Cipher.new("aes-256-cbc"), "password")
      File.write(key, encrypted)
      expect_refusal(/key in .*key\.pem is encrypted/)
    end

    it "verify_mode without ca, ca without verify_mode, and a ca that is none" do
      { { verify_mode: "peer" } => /verify_mode needs ca/, { authority: cert } => /ca needs verify_mode/,
        { authority: key, verify_mode: "peer" } => /key\.pem has no certificate/ }.each do |options, reason|
        expect { described_class.new([[cert, key]], **options).load }.to raise_error(PushServer::Error, reason)
      end
    end
  end

  %w[SEC1 PKCS8].zip(%i[to_pem private_to_pem]).each do |form, method|
    it "takes a key in the form #{form}" do
      File.write(key, issued.private_key.public_send(method))
      expect(certificates.load.content).not_to be_nil
    end
  end

  it "takes an RSA key" do
    use(authority.issue("rsa.example", key: OpenSSL::PKey::RSA.new(2048)))
    expect(certificates.load.content).not_to be_nil
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

    it "raise the error at once if somebody asks" do
      use(other, :cert)
      expect { certificates.renew! }.to raise_error(PushServer::Error, /does not belong/)
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
