# frozen_string_literal: true

require "fileutils"
require "openssl"
require "tmpdir"

# Issues certificates for the specs. The files are removed at the end of the run.
class CertificateAuthority
  # A certificate with its key. cert and key: paths. certificate: an OpenSSL::X509::Certificate.
  Issued = Struct.new(:cert, :key, :certificate, :private_key, keyword_init: true) do
    # For an endpoint.
    def query = "cert=#{cert}&key=#{key}"
  end

  class << self
    # One for all specs.
    def default = @default ||= new("Spec CA")

    # The certificate of the servers that SPEC_TRANSPORT=tls starts.
    def localhost = @localhost ||= default.issue("localhost", names: %w[DNS:localhost IP:127.0.0.1 IP:::1])

    def folder
      @folder ||= Dir.mktmpdir("push_server-certificates").tap do |path|
        File.chmod(0o755, path) # an app may change its user before the server reads its certificates
        pid = Process.pid # a forked child runs this, too
        at_exit { FileUtils.rm_rf(path) if Process.pid == pid }
      end
    end
  end

  # The path of its certificate, and the certificate.
  attr_reader :cert, :certificate

  # issuer: of its own certificate, another authority; nil: itself. from, to: Times.
  def initialize(name, issuer: nil, from: Time.now - 3600, to: Time.now + 86_400)
    @name = OpenSSL::X509::Name.new([["CN", name]])
    @key = OpenSSL::PKey::EC.generate("prime256v1")
    own = build(@name, @key, from, to)
    extensions = { "basicConstraints" => "CA:TRUE", "keyUsage" => "keyCertSign, cRLSign" }
    @certificate = issuer ? issuer.certify(own, extensions) : sign(own, @key, extensions)
    @cert = write(@certificate.to_pem)
  end

  # names: as in subjectAltName. from, to: Times.
  def issue(common_name, names: ["DNS:#{common_name}"], key: OpenSSL::PKey::EC.generate("prime256v1"), from: Time.now - 3600,
            to: Time.now + 86_400, subject: [["O", "Specs"], ["CN", common_name]])
    certificate = build(OpenSSL::X509::Name.new(subject), key, from, to)
    certify(certificate, "basicConstraints" => "CA:FALSE", "subjectAltName" => names.join(","),
                         "extendedKeyUsage" => "serverAuth, clientAuth")
    pem = key.respond_to?(:to_pem) ? key.to_pem : key.private_to_pem
    Issued.new(cert: write(certificate.to_pem), key: write(pem), certificate: certificate, private_key: key)
  end

  # Signs a certificate. extensions: name => value.
  def certify(certificate, extensions)
    certificate.issuer = @name
    sign(certificate, @key, extensions)
  end

  # For clients that trust this authority.
  def store = OpenSSL::X509::Store.new.tap { |store| store.add_cert(@certificate) }

  private

  def write(text)
    path = File.join(self.class.folder, "#{SecureRandom.hex(6)}.pem")
    File.write(path, text)
    path
  end

  def build(subject, key, from, to)
    OpenSSL::X509::Certificate.new.tap do |certificate|
      certificate.version = 2
      certificate.serial = OpenSSL::BN.rand(100)
      certificate.subject = subject
      certificate.issuer = @name
      certificate.public_key = key.is_a?(OpenSSL::PKey::RSA) ? key.public_key : key
      certificate.not_before = from
      certificate.not_after = to
    end
  end

  def sign(certificate, key, extensions)
    factory = OpenSSL::X509::ExtensionFactory.new(certificate, certificate)
    extensions.each { |name, value| certificate.add_extension(factory.create_extension(name, value, name == "basicConstraints")) }
    certificate.sign(key, OpenSSL::Digest.new("SHA256"))
  end
end
