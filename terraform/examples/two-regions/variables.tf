variable "fleet" {
  description = "Name of the fleet: in the names of what the control plane makes, and the tag `fleet:fleet`. Not to be changed later."
  type        = string
  default     = "flotilla"
}

variable "domain" {
  description = "Tenants are reached at {slug}.{region}.{domain}."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.domain))
    error_message = "Give a domain, such as example.com."
  }
}

variable "control_plane" {
  description = "The control plane: its host name and certificate, its image by digest, the image's repository."
  type        = object({ host = string, certificate_arn = string, image = string, repository_arn = string })
}

variable "apps" {
  description = "The tenant app of each region: its image by digest, the image's repository, the certificate for the region's domain. All in that region."
  type = object({
    eu = object({ image = string, repository_arn = string, certificate_arn = string })
    us = object({ image = string, repository_arn = string, certificate_arn = string })
  })
}

variable "office_cidrs" {
  description = "Networks of the people who use the CLI, as they are seen from the control plane's network."
  type        = list(string)
  default     = []
}

variable "allow_exec" {
  description = "Whether people may open a shell in the control plane's tasks; on for the first start."
  type        = bool
  default     = false
}
