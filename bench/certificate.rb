# frozen_string_literal: true

require "fileutils"
require "openssl"
require "tmpdir"

module Bench
  # The certificate of all servers, with an ECDSA key on P-256.
  module Certificate
    module_function

    # @return [Hash{Symbol => String}] the paths of `cert` and `key`, which are removed when this process ends
    def files
      @files ||= begin
        folder = Dir.mktmpdir("push_server-bench")
        at_exit { FileUtils.rm_rf(folder) }
        key = OpenSSL::PKey::EC.generate("prime256v1")
        { cert: certificate(key), key: key }.to_h do |kind, object|
          path = File.join(folder, "#{kind}.pem")
          File.write(path, object.to_pem, perm: 0o600)
          [kind, path]
        end
      end
    end

    def certificate(key)
      name = OpenSSL::X509::Name.new([%w[CN localhost]])
      OpenSSL::X509::Certificate.new.tap do |certificate|
        certificate.version = 2
        certificate.serial = 1
        certificate.subject = certificate.issuer = name
        certificate.public_key = key
        certificate.not_before = Time.now - 60
        certificate.not_after = Time.now + 86_400
        alternatives = OpenSSL::X509::ExtensionFactory.new(certificate, certificate)
        certificate.add_extension(alternatives.create_extension("subjectAltName", "DNS:localhost,IP:127.0.0.1"))
        certificate.sign(key, OpenSSL::Digest.new("SHA256"))
      end
    end
    private_class_method :certificate
  end
end
